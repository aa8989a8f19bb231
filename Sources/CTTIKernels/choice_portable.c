#include "CTTIKernels.h"
#include "choice_body.h"

const ctti_choice_kernels ctti_choice_portable = {gumbel, draw, guide, nearest};

#if !defined(__x86_64__)
const ctti_choice_kernels ctti_choice_avx2 = {0}, ctti_choice_avx512 = {0};
#endif

const ctti_choice_kernels *ctti_choice(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return &ctti_choice_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_choice_avx512;
    default: return &ctti_choice_portable;
    }
}
