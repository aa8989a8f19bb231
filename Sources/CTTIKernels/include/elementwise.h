// Elementwise functions over float32 elements.
#pragma once

#include <stddef.h>

#include "instruction_set.h"

typedef struct {
    // out = x + y for `count` elements of x and y.
    void (*add)(float *out, const float *x, const float *y, size_t count);
    // out = activation(x); `activation` as TTICore numbers them.
    void (*activate)(float *out, const float *x, size_t count, int activation);
    // For every row: out[width] = value[width] · activation(gate[width]); rows of x are 2 · width long, those of out `stride`
    // floats apart.
    void (*gate)(
        float *out, size_t stride, const float *x, size_t rows, size_t width, int activation, bool gate_first);
    // For every row: out = x · (1 + modulation[0 ..< width]) + modulation[width ..< 2 · width].
    void (*modulate)(float *out, const float *x, const float *modulation, size_t rows, size_t width);
    // For every head of `width`: pairs of neighbours turned by angles[width], cosine and sine of each pair in turns.
    void (*rotate)(float *out, const float *x, const float *angles, size_t heads, size_t width);
} ctti_elementwise_kernels;

extern const ctti_elementwise_kernels ctti_elementwise_portable, ctti_elementwise_avx2, ctti_elementwise_avx512;

const ctti_elementwise_kernels *ctti_elementwise(ctti_isa isa);
