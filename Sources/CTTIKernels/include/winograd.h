// 3×3 convolutions of stride 1 and padding 1 as (m + 2)² products (Winograd; Lavin and Gray 2015): of each tile of m × m output
// pixels, (m + 2)² transformed inputs are multiplied with as many transformed kernels.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "instruction_set.h"

typedef struct {
    size_t m;                           // 2 or 4
    const float *image;                 // [batch, height, width, channels], channels a multiple of 16
    size_t height, width, channels;
    size_t upsampling;                  // 2: every pixel stands for 2×2
    const void *panels;                 // [outputs, 3, 3, channels], packed
    bool wide;                          // float32 panels, not bfloat16
    size_t packed_depth;                // of a kernel's row: ctti_packed_depth(wide, 3 · channels)
    size_t outputs;                     // a multiple of 16
    const float *bias, *residual;       // [outputs]; as y; or null
    float *y;                           // [batch, height · upsampling, width · upsampling, outputs]
    int activation;                     // ctti_activation
    // A group of panels and a run of tiles, counted over the whole batch.
    size_t first_panel, panels_at_once;
    size_t first_tile, tiles_at_once;
    size_t chunk;                       // channels that one product sums up
    float *inputs;                      // [(m + 2)², tiles_at_once, channels]
    float *weights;                     // [(m + 2)², chunks, panels_at_once, channels of the chunk, 32]
    float *products;                    // [(m + 2)², tiles_at_once, 32 · panels_at_once]
} ctti_winograd;

typedef struct {
    // Fills in some of `inputs`: tiles first..<end of the run.
    void (*inputs)(const ctti_winograd *call, size_t first, size_t end);
    // Fills in some of `weights`: channels first..<end of a panel of the group.
    void (*weights)(const ctti_winograd *call, size_t panel, size_t first, size_t end);
    // `products` of tiles first..<end of the run become pixels, 32 · panels_at_once outputs of each or as many as there are.
    void (*outputs)(const ctti_winograd *call, size_t first, size_t end);
} ctti_winograd_kernels;

extern const ctti_winograd_kernels ctti_winograd_portable, ctti_winograd_avx2, ctti_winograd_avx512;

const ctti_winograd_kernels *ctti_winograd_for(ctti_isa isa);

// Tiles down and across.
static inline size_t ctti_winograd_down(const ctti_winograd *call) {
    return (call->height * call->upsampling + call->m - 1) / call->m;
}
static inline size_t ctti_winograd_across(const ctti_winograd *call) {
    return (call->width * call->upsampling + call->m - 1) / call->m;
}
