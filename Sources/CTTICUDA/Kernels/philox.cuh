// The random numbers of TTICore's RandomStream: Philox 4×32-10, a function of seed, purpose, position and index alone.
#pragma once
#include "device.cuh"

// `RandomStream.Purpose`
#define PURPOSE_TOKEN 1
#define PURPOSE_CONFIDENCE 2

struct random_stream {
    uint32_t key[2], position, purpose;
};

struct random_words {
    uint32_t word[4];
};

// The words of indices 4 · counter ..< 4 · counter + 4.
INLINE random_words philox(const random_stream &stream, uint32_t counter) {
    uint32_t c[4] = {counter, stream.position, stream.purpose, 0}, key0 = stream.key[0], key1 = stream.key[1];
#pragma unroll
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c[0], product1 = (uint64_t)0xCD9E8D57u * c[2];
        c[0] = (uint32_t)(product1 >> 32) ^ c[1] ^ key0;
        c[1] = (uint32_t)product1;
        c[2] = (uint32_t)(product0 >> 32) ^ c[3] ^ key1;
        c[3] = (uint32_t)product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return random_words{{c[0], c[1], c[2], c[3]}};
}

// -log(-log u) of a word as a number u in (0, 1): between -2.82 and 16.64. Both logarithms are the exact function, not the
// fast one: tokens are decided by the last bits.
INLINE float gumbel(uint32_t word) {
    float u = ((float)(word >> 9) + 0.5f) * 1.1920929e-7f;
    return -logf(-logf(u));
}

// The noise of one index.
INLINE float gumbel_at(const random_stream &stream, uint32_t index) {
    random_words words = philox(stream, index >> 2);
    uint32_t lane = index & 3;
    return gumbel(lane == 0 ? words.word[0] : lane == 1 ? words.word[1] : lane == 2 ? words.word[2] : words.word[3]);
}
