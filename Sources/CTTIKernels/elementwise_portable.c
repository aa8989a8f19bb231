#include "CTTIKernels.h"
#include "elementwise_body.h"

const ctti_elementwise_kernels ctti_elementwise_portable = {add, activate, gate, modulate, rotate};

#if !defined(__x86_64__)
const ctti_elementwise_kernels ctti_elementwise_avx2 = {0}, ctti_elementwise_avx512 = {0};
#endif

const ctti_elementwise_kernels *ctti_elementwise(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return &ctti_elementwise_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_elementwise_avx512;
    default: return &ctti_elementwise_portable;
    }
}
