// Products of rows and weights: activation(x · weightᵀ + bias) + residual, for few rows, where the weights' bytes are the
// bound. The work of more rows is OpenBLAS's; `finish` then does what is left.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_set.h"

// In the order of Swift's `Activation`.
typedef enum {
    CTTI_IDENTITY = 0,
    CTTI_RELU = 1,
    CTTI_GELU = 2,
    CTTI_GELU_TANH = 3,
    CTTI_QUICK_GELU = 4,
    CTTI_SILU = 5,
} ctti_activation;

typedef struct {
    const float *x;           // [rows, inputs]
    const void *weight;       // [outputs, inputs], float32 or bfloat16
    const float *bias;        // [outputs] or NULL
    const float *residual;    // [rows, outputs] or NULL
    float *y;                 // [rows, outputs]
    size_t rows, inputs, outputs;
    ctti_activation activation;
} ctti_linear;

typedef struct {
    // All rows, outputs first..<end. The weights are read once for every eight rows. The sums of a row have the same
    // order whatever the number of rows and outputs.
    void (*rows_float32)(const ctti_linear *call, size_t first, size_t end);
    void (*rows_bfloat16)(const ctti_linear *call, size_t first, size_t end);
    // y = activation(y + bias) + residual for rows first_row..<end_row, outputs first..<end.
    void (*finish)(const ctti_linear *call, size_t first_row, size_t end_row, size_t first, size_t end);
} ctti_linear_kernels;

const ctti_linear_kernels *ctti_linear_kernels_for(ctti_isa isa);
