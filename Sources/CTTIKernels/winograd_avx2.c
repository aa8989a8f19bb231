#if defined(__x86_64__)
#include "CTTIKernels.h"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "winograd_body.h"
#pragma clang attribute pop

const ctti_winograd_kernels ctti_winograd_avx2 = {winograd_inputs, winograd_weights, winograd_outputs};
#endif
