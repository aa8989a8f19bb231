#if defined(__x86_64__)

#include <immintrin.h>

#include "ceilings_tables.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))

// Prefetches 2 KB ahead in each stream. One stream was never slower than more on Zen 5; on Sapphire Rapids a core reads 12 to 14
// GB/s in one and 21 to 22 in four.
TARGET uint64_t ctti_read_all_avx512(const void *memory, size_t bytes, size_t streams) {
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    size_t length = bytes / streams;
    for (size_t i = 0; i < length; i += 256) {
        const char *place = (const char *)memory + i;
        for (size_t stream = 0; stream < streams; stream++, place += length) {
            for (int part = 0; part < 4; part++) {
                _mm_prefetch(place + 2048 + 64 * part, _MM_HINT_T0);
                sums[part] = _mm512_xor_si512(sums[part], _mm512_load_si512(place + 64 * part));
            }
        }
    }
    __m512i sum = _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

TARGET double ctti_multiply_adds_avx512(size_t rounds, float *result) {
    enum { chains = 24 };
    __m512 sums[chains];
    for (int i = 0; i < chains; i++) sums[i] = _mm512_set1_ps((float)(i + 2));
    __m512 factor = _mm512_set1_ps(0.999f), addend = _mm512_set1_ps(1e-3f);
    for (size_t round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < chains; i++) sums[i] = _mm512_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < chains; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    *result = _mm512_reduce_add_ps(sums[0]);
    return 2.0 * 16 * chains * (double)rounds;
}

#endif
