// Products of rows and weights, both in 8-bit integers: activation(x · weightᵀ + bias) + residual.
//
// A row x is quantised as it comes: x ≈ scale · (q - 128), q from 1 to 255, scale = max |x| / 127. An output's weights have a
// scale of their own: w ≈ scale · q, q from -127 to 127. Sums of q are exact integers, so every instruction set, any number
// of rows and any cut gives the same bits up to the activation: a product, rounded, and the bias, added and rounded.
//
// Weights are packed in panels of 32 outputs, four inputs of an output side by side, [panel][four inputs][32][4]: as VPDPBUSD
// and tiles want them. Inputs are filled up with zeros to a multiple of CTTI_INT8_INPUTS, outputs to 32.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "instruction_set.h"
#include "linear.h"

// The inputs of an int8 tile.
#define CTTI_INT8_INPUTS 64
// A row whose largest number is smaller is a row of zeros.
#define CTTI_INT8_LEAST 0x1p-100f

typedef struct {
    const uint8_t *x;      // [rows, row_stride], quantised; on tiles 16 rows for every 16 begun
    size_t row_stride;     // bytes, at least `inputs`
    const float *x_scales; // [rows]
    const int8_t *panels;
    const float *scales;   // [outputs, up to a multiple of 32]
    const int32_t *zeros;  // [the same]: 128 · the sum of an output's weights
    size_t inputs;         // a multiple of CTTI_INT8_INPUTS
    const float *bias;     // [outputs] or NULL
    const float *residual; // [rows, outputs] or NULL
    float *y;              // [rows, outputs]
    size_t output_stride;  // floats from one row of y, and of the residual, to the next
    size_t rows, outputs;
    ctti_activation activation;
} ctti_int8_product;

// Quantises and packs one panel: the first 32 outputs, or as many as there are, of a matrix [outputs, inputs].
void ctti_pack_int8(
    int8_t *panel, float *scales, int32_t *zeros, const float *matrix, size_t outputs, size_t inputs,
    size_t padded_inputs);

// Quantises rows of `count` numbers. A row with a number that is not finite has a scale that is not finite.
void ctti_quantize_rows(
    ctti_isa isa, uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride,
    size_t rows, size_t count, size_t padded);

// The product's rows first_row..<end_row and panels first..<end. On tiles, which AMX alone has and which pay from 16 rows on,
// first_row is a multiple of 16.
void ctti_multiply_int8(
    ctti_isa isa, bool on_tiles, const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first,
    size_t end);
