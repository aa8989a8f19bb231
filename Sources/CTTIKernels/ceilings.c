#include "ceilings_tables.h"

#include <string.h>

// Four streams, each of a quarter of the memory.
static uint64_t read_all(const void *memory, size_t bytes) {
    uint64_t sums[4] = {0};
    size_t quarter = bytes / 4;
    for (size_t i = 0; i < quarter; i += 8) {
        for (size_t stream = 0; stream < 4; stream++) {
            uint64_t word;
            memcpy(&word, (const char *)memory + stream * quarter + i, sizeof word);
            sums[stream] ^= word;
        }
    }
    return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

static double multiply_adds(size_t rounds, float *result) {
    enum { chains = 32 };
    float sums[chains] = {0};
    for (size_t round = 0; round < rounds; round++) {
        for (int i = 0; i < chains; i++) sums[i] = sums[i] * 0.999f + 1e-3f;
    }
    *result = 0;
    for (int i = 0; i < chains; i++) *result += sums[i];
    return 2.0 * chains * (double)rounds;
}

uint64_t ctti_read_all(ctti_isa isa, const void *memory, size_t bytes) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) return ctti_read_all_avx512(memory, bytes);
    if (isa == CTTI_AVX2) return ctti_read_all_avx2(memory, bytes);
#endif
    (void)isa;
    return read_all(memory, bytes);
}

double ctti_multiply_adds(ctti_isa isa, size_t rounds, float *result) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) return ctti_multiply_adds_avx512(rounds, result);
    if (isa == CTTI_AVX2) return ctti_multiply_adds_avx2(rounds, result);
#endif
    (void)isa;
    return multiply_adds(rounds, result);
}
