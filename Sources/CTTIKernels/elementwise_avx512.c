#if defined(__x86_64__)
#include "CTTIKernels.h"
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "elementwise_body.h"
#pragma clang attribute pop

const ctti_elementwise_kernels ctti_elementwise_avx512 = {add, activate, gate, modulate, rotate};
#endif
