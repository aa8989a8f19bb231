#if defined(__x86_64__)

#include <immintrin.h>

#include "ceilings_tables.h"

#define TARGET __attribute__((target("avx2,fma")))

TARGET uint64_t ctti_read_all_avx2(const void *memory, size_t bytes, size_t streams) {
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    size_t length = bytes / streams;
    for (size_t i = 0; i < length; i += 128) {
        const char *place = (const char *)memory + i;
        for (size_t stream = 0; stream < streams; stream++, place += length) {
            _mm_prefetch(place + 2048, _MM_HINT_T0);
            _mm_prefetch(place + 2112, _MM_HINT_T0);
            for (int part = 0; part < 4; part++) {
                sums[part] = _mm256_xor_si256(sums[part], _mm256_load_si256((const __m256i *)(place + 32 * part)));
            }
        }
    }
    __m256i sum = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
    return (uint64_t)(_mm256_extract_epi64(sum, 0) ^ _mm256_extract_epi64(sum, 1) ^ _mm256_extract_epi64(sum, 2) ^
                      _mm256_extract_epi64(sum, 3));
}

TARGET double ctti_multiply_adds_avx2(size_t rounds, float *result) {
    enum { chains = 12 };
    __m256 sums[chains];
    for (int i = 0; i < chains; i++) sums[i] = _mm256_set1_ps((float)(i + 2));
    __m256 factor = _mm256_set1_ps(0.999f), addend = _mm256_set1_ps(1e-3f);
    for (size_t round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < chains; i++) sums[i] = _mm256_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < chains; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    float parts[8];
    _mm256_storeu_ps(parts, sums[0]);
    *result = parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5] + parts[6] + parts[7];
    return 2.0 * 8 * chains * (double)rounds;
}

#endif
