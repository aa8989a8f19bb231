// Attention over whole sequences: float32, or on AMX bfloat16.
#pragma once

#include <stddef.h>

#include "instruction_set.h"

// Keys and head widths are packed in panels of at most this many; buffers for panels are this much rounded up.
#define CTTI_ATTENTION_PANEL 32
// The widest head.
#define CTTI_ATTENTION_MAX_WIDTH 1024
// The widest head on AMX.
#define CTTI_ATTENTION_TILE_WIDTH 512

// One head: some of its queries over all its keys.
typedef struct {
    const float *q;  // the first of these queries
    float *out;
    size_t q_stride, out_stride;
    const float *key_panels, *value_panels;  // of all keys of this head
    size_t first, queries, keys, width;      // `first`: which place the first query has
    float scale;
    bool causal;
    size_t window_columns, window_reach;  // 0 columns: no window
    const float *key_bias;                // [keys], or null
    const float *score_bias;              // the first query's row of [queries, keys], or null
} ctti_attention_queries;

typedef struct {
    // Keys as [panel][width][keys of the panel], values as [panel of the width][keys][columns of the panel], with zeros
    // where a panel is not full. On AMX as bfloat16, two inputs of a product side by side, keys and width filled up to
    // multiples of 32. A call packs CTTI_ATTENTION_PANEL keys from `start` on, a multiple of it.
    void (*pack_keys)(float *panels, const float *k, size_t stride, size_t keys, size_t width, size_t start);
    void (*pack_values)(float *panels, const float *v, size_t stride, size_t keys, size_t width, size_t start);
    void (*queries)(const ctti_attention_queries *work);
} ctti_attention_kernels;

extern const ctti_attention_kernels ctti_attention_portable, ctti_attention_avx2, ctti_attention_avx512,
    ctti_attention_amx;

// `rounded`: in bfloat16, which only AMX does.
const ctti_attention_kernels *ctti_attention(ctti_isa isa, bool rounded);
