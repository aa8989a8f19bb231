// Products of rows and weights, both in 8-bit integers: activation(x · weightᵀ + bias) + residual.
//
// A row x is quantised as it comes: x ≈ scale · (q - 128), q from 1 to 255, scale = max |x| / 127. An output's weights have a
// scale of their own: w ≈ scale · q, q from -127 to 127. Sums of q are exact integers, so every instruction set, any number
// of rows and any cut gives the same bits up to the activation: a product, rounded, and the bias, added and rounded.
//
// Weights are packed in panels of 32 outputs, four inputs of an output side by side, [panel][four inputs][32][4]: as VPDPBUSD
// and tiles want them. Each run of inputs (a segment, as in linear.h) is filled up with zeros to a multiple of
// CTTI_INT8_INPUTS, outputs to 32.
//
// A convolution is such a product of runs of pixels: there all of an image has one scale.
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
    const uint8_t *x;      // quantised; on tiles 16 rows for every 16 begun
    size_t row_stride;     // bytes from one row to the next
    size_t segments;       // runs of inputs / segments inputs,
    size_t segment_stride; // so many bytes from one to the next; only for ctti_multiply_int8_groups
    const float *x_scales; // [rows], or one for all
    size_t x_scale_step;   // 1, or 0
    const int8_t *panels;
    const float *scales;   // [outputs, up to a multiple of 32]
    const int32_t *zeros;  // [the same]: 128 · the sum of an output's weights
    size_t inputs;         // of all runs, each a multiple of CTTI_INT8_INPUTS
    const float *bias;     // [outputs] or NULL
    const float *residual; // [rows, outputs] or NULL
    float *y;              // [rows, outputs]
    size_t output_stride;  // floats from one row of y, and of the residual, to the next
    size_t rows, outputs;
    ctti_activation activation;
    size_t group_stride;         // groups of `rows` rows lie so many bytes apart in x,
    size_t group_output_stride;  // and so many floats in y and in the residual
} ctti_int8_product;

// How many inputs a packed run of `depth` inputs has.
size_t ctti_packed_int8_depth(size_t depth);

// Quantises and packs one panel: the first 32 outputs, or as many as there are, of a matrix [outputs, segments · depth].
void ctti_pack_int8(
    int8_t *panel, float *scales, int32_t *zeros, const float *matrix, size_t outputs, size_t segments, size_t depth);

// One panel's outputs, back in their matrix [outputs, segments · depth] in units of their own.
void ctti_unpack_int8(
    int8_t *matrix, const int8_t *panels, size_t outputs, size_t segments, size_t depth, size_t panel);

// The largest magnitude of `count` numbers; NaN or infinity when one is not finite.
float ctti_largest(ctti_isa isa, const float *source, size_t count);

// What a unit stands for when so much is the largest, and how many units 1 is.
float ctti_int8_scale(float largest);
float ctti_int8_inverse(float largest);

// Numbers in units: 128 + the nearest integer to x · inverse.
void ctti_quantize(ctti_isa isa, uint8_t *target, const float *source, size_t count, float inverse);

// Quantises rows of `count` numbers. A row with a number that is not finite has a scale that is not finite.
void ctti_quantize_rows(
    ctti_isa isa, uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride,
    size_t rows, size_t count, size_t padded);

// The product's rows first_row..<end_row and panels first..<end. On tiles, which AMX alone has and which pay from 16 rows on,
// first_row is a multiple of 16.
void ctti_multiply_int8(
    ctti_isa isa, bool on_tiles, const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first,
    size_t end);

// All rows of so many groups and panels first..<end: on tiles with CTTI_AMX, else one after the other.
void ctti_multiply_int8_groups(
    ctti_isa isa, const ctti_int8_product *product, size_t groups, size_t first, size_t end);
