#if defined(__x86_64__)

#include <immintrin.h>

#include "ceilings_tables.h"

// The compiler does not know the factors, and that the sums are read.
__attribute__((target("avx512f,avx512bf16"))) double ctti_multiply_adds_avx512bf16(size_t rounds) {
    enum { chains = 24 };
    __m512 sums[chains];
    for (int i = 0; i < chains; i++) sums[i] = _mm512_setzero_ps();
    __m512i factors = _mm512_set1_epi32(0x3f003f80);
    __asm__ volatile("" : "+v"(factors));
    for (size_t round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < chains; i++) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)factors, (__m512bh)factors);
    }
    for (int i = 0; i < chains; i++) __asm__ volatile("" : : "v"(sums[i]));
    return 2.0 * 2 * 16 * chains * (double)rounds;
}

#endif
