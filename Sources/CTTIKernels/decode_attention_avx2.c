#if defined(__x86_64__)
#include "CTTIKernels.h"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "decode_attention_body.h"
#pragma clang attribute pop

const ctti_decode_attention_kernels ctti_decode_attention_avx2 = {decode_chunk, decode_merge, decode_store};
#endif
