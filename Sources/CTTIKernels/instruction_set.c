#include "CTTIKernels.h"

bool ctti_has_isa(ctti_isa isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    switch (isa) {
    case CTTI_PORTABLE: return true;
    case CTTI_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CTTI_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    default: return false;
    }
#else
    return isa == CTTI_PORTABLE;
#endif
}

ctti_isa ctti_best_isa(void) {
    if (ctti_has_isa(CTTI_AVX512)) return CTTI_AVX512;
    if (ctti_has_isa(CTTI_AVX2)) return CTTI_AVX2;
    return CTTI_PORTABLE;
}

const char *ctti_isa_name(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return "avx2";
    case CTTI_AVX512: return "avx512";
    default: return "portable";
    }
}
