#include "CTTIKernels.h"
#include "norm_body.h"

const ctti_norm_kernels ctti_norm_portable = {
    norm_rows, channel_moments, channel_ranges, channel_squares, combine_moments, sum_chunks, channel_affine,
};

#if !defined(__x86_64__)
const ctti_norm_kernels ctti_norm_avx2 = {0}, ctti_norm_avx512 = {0};
#endif

const ctti_norm_kernels *ctti_norm(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return &ctti_norm_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_norm_avx512;
    default: return &ctti_norm_portable;
    }
}
