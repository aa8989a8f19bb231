// Products of rows and packed weights: activation(x · weightᵀ + bias) + residual.
//
// Weights are packed in panels of 32 outputs, [panel][input][32], so that a product streams them in one piece and needs
// no sum across lanes; what is left over is one more panel of 32, or of 16 when that is enough, filled up with zeros.
//
// bfloat16 panels hold two inputs of an output side by side, [panel][pair of inputs][32][2]: as tiles want them, and one shift
// and one mask widen them. There each run of inputs (a segment, below) is filled up with zeros to a multiple of
// CTTI_TILE_INPUTS. So one packed form serves one row and a thousand.
//
// Every element is one chain of multiply-adds, bias first, then the inputs in ascending order, whatever is computed
// beside it. So a row's bits depend neither on the number of rows nor on how the work is cut up. Products of rounded rows
// have another rounding; which of the two it is, the caller decides.
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
    size_t group_stride;         // rounded rows only: groups of `rows` rows lie so many elements apart in x,
    size_t group_output_stride;  // and so many floats in y and in the residual
} ctti_product;

// The inputs of a bfloat16 tile.
#define CTTI_TILE_INPUTS 32

// How many inputs a packed run of `depth` inputs has.
size_t ctti_packed_depth(bool wide, size_t depth);

// How many panels there are.
size_t ctti_panel_count(size_t outputs);

// How many elements all panels have; `inputs` counts the zeros.
size_t ctti_panel_elements(size_t outputs, size_t inputs);

// Packs one panel: the first 32 outputs, or as many as there are, of a matrix [outputs, segments · depth] of float32 or of
// bfloat16 (any alignment).
void ctti_pack_float32(float *panel, const void *matrix, size_t outputs, size_t segments, size_t depth);
void ctti_pack_bfloat16(uint16_t *panel, const void *matrix, size_t outputs, size_t segments, size_t depth);

// One panel's outputs, back in their matrix [outputs, segments · depth] as float32.
void ctti_unpack(
    float *matrix, const void *panels, bool wide, size_t outputs, size_t segments, size_t depth, size_t panel);

// The product's rows first_row..<end_row and panels first..<end.
void ctti_multiply(
    ctti_isa isa, const ctti_product *product, size_t first_row, size_t end_row, size_t first, size_t end);

// The same product of rounded rows: `x` is bfloat16, with row_stride, segment_stride and group_stride in elements; products
// are exact, sums are float32 by pairs of inputs. A unit is 16 rows of a group, the last one what is left; x holds 16 rows
// for every unit, and CTTI_TILE_INPUTS finite elements past the end of every run. A row's bits depend on nothing beside it.
// Only with CTTI_AVX512BF16 and CTTI_AMX, and so are the two below.
void ctti_multiply_rounded(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first,
    size_t end);

// value · activation(gate) of such a product, as bfloat16 rows for the next one: values are its first outputs / 2 outputs
// and gates the others, or the other way round. One group, no residual; outputs / 2 is a multiple of 32, and panels
// count it.
void ctti_multiply_rounded_gated(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target,
    size_t target_stride, size_t first_unit, size_t end_unit, size_t first, size_t end);

// Rows of `count` floats as bfloat16, to nearest, ties to even, with zeros up to `padded` elements.
void ctti_round_rows(
    uint16_t *target, size_t target_stride, const float *source, size_t source_stride, size_t rows, size_t count,
    size_t padded);
