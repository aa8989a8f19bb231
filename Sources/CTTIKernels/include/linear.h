// Products of rows and packed weights: activation(x · weightᵀ + bias) + residual.
//
// Weights are packed in panels of 32 outputs, [panel][input][32], so that a product streams them in one piece and needs
// no sum across lanes; what is left over is one more panel of 32, or of 16 when that is enough, filled up with zeros. In a
// bfloat16 panel of 32, output i stands at place 2i and output 16 + i at place 2i + 1: one shift and one mask widen them.
//
// Every element is one chain of multiply-adds, bias first, then the inputs in ascending order, whatever is computed
// beside it. So a row's bits depend neither on the number of rows nor on how the work is cut up.
#pragma once

#include <stdbool.h>
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
    const float *x;            // [rows, inputs]; a row is `segments` runs of `segment_depth` inputs
    size_t row_stride;         // floats from one row to the next
    size_t segments;
    size_t segment_depth;
    size_t segment_stride;     // floats from one run to the next
    const void *panels;        // packed weights
    const float *bias;         // [outputs] or NULL
    const float *residual;     // [rows, outputs] or NULL
    float *y;                  // [rows, outputs]
    size_t output_stride;      // floats from one row of y, and of the residual, to the next
    size_t rows, outputs;
    ctti_activation activation;
    bool wide;                 // weights are float32, not bfloat16
} ctti_product;

// How many panels there are.
size_t ctti_panel_count(size_t outputs);

// How many elements all panels have.
size_t ctti_panel_elements(size_t outputs, size_t inputs);

// Packs the panels first..<end of a matrix [outputs, inputs] of float32 or of bfloat16 (any alignment).
void ctti_pack_float32(float *panels, const void *matrix, size_t outputs, size_t inputs, size_t first, size_t end);
void ctti_pack_bfloat16(uint16_t *panels, const void *matrix, size_t outputs, size_t inputs, size_t first, size_t end);

// One panel's outputs, back in their matrix [outputs, inputs] as float32.
void ctti_unpack(float *matrix, const void *panels, bool wide, size_t outputs, size_t inputs, size_t panel);

// The product's rows first_row..<end_row and panels first..<end.
void ctti_multiply(
    ctti_isa isa, const ctti_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
