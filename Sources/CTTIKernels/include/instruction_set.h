// Which instruction set the kernels use: chosen once from CPUID, or forced for tests.
#pragma once

#include <stdbool.h>

typedef enum {
    CTTI_PORTABLE = 0,
    CTTI_AVX2 = 1,    // with FMA and F16C
    CTTI_AVX512 = 2,  // F, BW, DQ, VL
    CTTI_ISA_COUNT = 3,
} ctti_isa;

// The best instruction set of this processor and operating system.
ctti_isa ctti_best_isa(void);

// Whether this processor can run an instruction set.
bool ctti_has_isa(ctti_isa isa);

// "portable", "avx2", "avx512".
const char *ctti_isa_name(ctti_isa isa);
