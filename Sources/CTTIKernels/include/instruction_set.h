// Which instruction set the kernels use: chosen once from CPUID, or forced for tests.
#pragma once

#include <stdbool.h>

typedef enum {
    CTTI_PORTABLE = 0,
    CTTI_AVX2 = 1,        // with FMA and F16C
    CTTI_AVX512 = 2,      // F, BW, DQ, VL
    CTTI_AVX512BF16 = 3,  // and BF16: sums of pairs of bfloat16
    CTTI_AMX = 4,         // and VNNI, and tiles of bfloat16 and int8 that the system lets us use
    CTTI_ISA_COUNT = 5,
} ctti_isa;

// The fastest instruction set of this processor and operating system.
ctti_isa ctti_best_isa(void);

// Whether this processor can run an instruction set, and the system lets it: asking for AMX also asks the system, once,
// for the tiles' state of this process.
bool ctti_has_isa(ctti_isa isa);

// "portable", "avx2", "avx512", "avx512bf16", "amx".
const char *ctti_isa_name(ctti_isa isa);
