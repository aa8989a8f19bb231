#if defined(__x86_64__)
#include "CTTIKernels.h"
#define KEYS_AT_ONCE 16
#define VECTORS_AT_ONCE 4
#define ASKS(is_bf16) true
#define LOCALITY 3
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "decode_attention_body.h"
#pragma clang attribute pop

const ctti_decode_attention_kernels ctti_decode_attention_avx512 = {decode_chunk, decode_merge, decode_store};
#endif
