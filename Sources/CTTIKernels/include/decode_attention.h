// One query over many keys: decoding, where everything is read once and used once.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_set.h"

// The keys that one call attends over; a fixed number, so that sums do not depend on the threads.
#define CTTI_DECODE_CHUNK 256

// The heads of one call at most.
#define CTTI_DECODE_HEADS 4

// One query of some heads, and up to CTTI_DECODE_CHUNK keys.
typedef struct {
    const float *q;             // [heads, width]
    const void *keys, *values;  // the first head's key 0; float32 or bfloat16
    bool is_bf16;
    size_t stride, width;   // elements from key to key; of a head
    size_t value_stride;
    size_t heads, head_stride;  // elements from a head's keys, or values, to the next one's
    const int32_t *places;  // which keys, or null for first ..< first + count
    size_t first, count;
    const void *next_keys, *next_values;  // what the next call reads first: asked for ahead; null when unknown
    float scale;
    const float *key_bias;    // by key, or null
    const float *score_bias;  // by key, or null
    size_t score_bias_stride;  // from head to head
    float *partial;  // the result of each head: largest score, sum of weights, weighted sum of values [width]
    size_t partial_stride;     // from head to head
} ctti_decode_chunk;

typedef struct {
    void (*chunk)(const ctti_decode_chunk *work);
    // The attention of `chunks` partial results that follow each other, in order.
    void (*merge)(float *out, const float *partials, size_t chunks, size_t width);
    // Writes `count` elements to a cache.
    void (*store)(void *cache, const float *x, size_t count, bool is_bf16);
} ctti_decode_attention_kernels;

extern const ctti_decode_attention_kernels ctti_decode_attention_portable, ctti_decode_attention_avx2,
    ctti_decode_attention_avx512;

const ctti_decode_attention_kernels *ctti_decode_attention(ctti_isa isa);
