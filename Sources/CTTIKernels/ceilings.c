#include "ceilings_tables.h"

#include <string.h>

static uint64_t read_all(const void *memory, size_t bytes, size_t streams) {
    uint64_t sums[4] = {0};
    size_t length = bytes / streams;
    for (size_t i = 0; i < length; i += 32) {
        for (size_t stream = 0; stream < streams; stream++) {
            for (size_t part = 0; part < 4; part++) {
                uint64_t word;
                memcpy(&word, (const char *)memory + stream * length + i + 8 * part, sizeof word);
                sums[part] ^= word;
            }
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

uint64_t ctti_read_all(ctti_isa isa, const void *memory, size_t bytes, size_t streams) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) return ctti_read_all_avx512(memory, bytes, streams);
    if (isa == CTTI_AVX2) return ctti_read_all_avx2(memory, bytes, streams);
#endif
    (void)isa;
    return read_all(memory, bytes, streams);
}

double ctti_multiply_adds(ctti_isa isa, size_t rounds, float *result) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) return ctti_multiply_adds_avx512(rounds, result);
    if (isa == CTTI_AVX2) return ctti_multiply_adds_avx2(rounds, result);
#endif
    (void)isa;
    return multiply_adds(rounds, result);
}

double ctti_tile_multiply_adds(ctti_isa isa, bool int8, size_t rounds) {
#if defined(__x86_64__)
    if (isa == CTTI_AMX) return ctti_multiply_adds_amx(int8, rounds);
    if (isa == CTTI_AVX512BF16 && !int8) return ctti_multiply_adds_avx512bf16(rounds);
#endif
    (void)isa, (void)int8, (void)rounds;
    return 0;
}
