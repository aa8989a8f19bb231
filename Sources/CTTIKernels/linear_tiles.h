// What a product needs of an instruction set.
#pragma once

#include "CTTIKernels.h"

// The sums of some rows (as many as the function's place in its table says) and one panel: y = bias + x · panelᵀ +
// residual, stored for `width` outputs. `residual` may be NULL, and so may `bias`.
typedef void (*ctti_tile)(
    const ctti_product *product, const float *x, const void *panel, const float *bias, const float *residual, float *y,
    size_t width);

enum { ctti_panel_width = 32, ctti_most_rows = 14 };

// The same for few rows and several panels of 32 beside each other: more independent chains, and as many streams of weights.
typedef void (*ctti_strip)(
    const ctti_product *product, const float *x, const void *panels, const float *bias, const float *residual, float *y);

typedef struct {
    size_t most_rows;                                // the largest tile
    ctti_tile tiles[2][2][ctti_most_rows + 1];       // [float32?][panel of 32?][rows]
    ctti_strip strips[2][2][3];                      // [four panels, not two?][float32?][rows]; NULL: none
    void (*finish)(
        float *y, const float *residual, size_t stride, size_t rows, size_t width, ctti_activation activation);
} ctti_linear_kernels;

extern const ctti_linear_kernels ctti_linear_portable;
#if defined(__x86_64__)
extern const ctti_linear_kernels ctti_linear_avx2;
extern const ctti_linear_kernels ctti_linear_avx512;

// As ctti_multiply_rounded and ctti_multiply_rounded_gated, by VDPBF16PS and on AMX.
void ctti_multiply_pairs(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end);
void ctti_multiply_pairs_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end);
void ctti_multiply_tiles(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end);
void ctti_multiply_tiles_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end);
#endif
