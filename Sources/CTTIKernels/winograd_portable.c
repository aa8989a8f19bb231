#include "CTTIKernels.h"
#include "winograd_body.h"

const ctti_winograd_kernels ctti_winograd_portable = {winograd_inputs, winograd_weights, winograd_outputs};

#if !defined(__x86_64__)
const ctti_winograd_kernels ctti_winograd_avx2 = {0}, ctti_winograd_avx512 = {0};
#endif

const ctti_winograd_kernels *ctti_winograd_for(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return &ctti_winograd_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_winograd_avx512;
    default: return &ctti_winograd_portable;
    }
}
