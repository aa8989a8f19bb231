#if defined(__x86_64__)
#include "CTTIKernels.h"
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "choice_body.h"
#pragma clang attribute pop

const ctti_choice_kernels ctti_choice_avx512 = {gumbel, draw, guide, nearest};
#endif
