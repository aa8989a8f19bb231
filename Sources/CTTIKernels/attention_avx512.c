#if defined(__x86_64__)
#include "CTTIKernels.h"
#define ROWS 12
#define VECTORS 2
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "attention_body.h"
#pragma clang attribute pop

const ctti_attention_kernels ctti_attention_avx512 = {pack_keys, pack_values, attention_queries};
#endif
