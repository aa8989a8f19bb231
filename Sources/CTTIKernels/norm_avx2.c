#if defined(__x86_64__)
#include "CTTIKernels.h"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "norm_body.h"
#pragma clang attribute pop

const ctti_norm_kernels ctti_norm_avx2 = {
    norm_rows, channel_moments, channel_ranges, channel_squares, combine_moments, sum_chunks, channel_affine,
};
#endif
