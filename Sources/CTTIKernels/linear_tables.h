#pragma once

#include "CTTIKernels.h"

extern const ctti_linear_kernels ctti_linear_portable;
#if defined(__x86_64__)
extern const ctti_linear_kernels ctti_linear_avx2;
extern const ctti_linear_kernels ctti_linear_avx512;
#endif
