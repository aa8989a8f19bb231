#if defined(__x86_64__)
#include "CTTIKernels.h"
#define ROWS 6
#define VECTORS 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "attention_body.h"
#pragma clang attribute pop

const ctti_attention_kernels ctti_attention_avx2 = {pack_keys, pack_values, attention_queries};
#endif
