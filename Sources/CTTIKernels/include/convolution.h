// Convolutions over images [height, width, channels].
#pragma once

#include <stddef.h>

#include "instruction_set.h"
#include "linear.h"

// A norm of an image, done while it is copied: activation((x - mean) · scale + shift). No norm: mean is null.
typedef struct {
    const float *mean, *scale, *shift;  // [channels]
    int activation;
    const float *joined;  // [height, width, joined_channels]: the last channels, which the image itself has not; or null
    size_t joined_channels;
} ctti_image_norm;

// The norm of `count` pixels from `first` on; `channels` are those of the image and of what is joined to it.
void ctti_norm_pixels(
    ctti_isa isa, const ctti_image_norm *norm, float *target, const float *image, size_t first, size_t count,
    size_t channels);

typedef struct {
    const float *image;  // [height, width, channels], without those that are joined to it
    size_t height, width, channels;
    size_t kernel_height, kernel_width;
    size_t output_height, output_width;
    size_t stride, top, left, bottom, right;
    size_t upsampling;         // 2: every pixel stands for 2×2
    size_t output_row_stride;  // floats from one row of the result to the next
    ctti_image_norm norm;      // of the image; the zeros around it stay zeros
    // Weights [outputs, kernel_height, kernel_width, channels], packed, and what else a product of a row of output pixels
    // has; x, rows, and how a row's inputs lie are filled in.
    ctti_product product;
} ctti_convolution;

// How many floats of scratch some rows of the result take; 0 when the image is read in place. Rounded
// rows, and those of a norm, are always a copy.
size_t ctti_convolution_scratch(const ctti_convolution *call, size_t rows, bool rounded);

// Rows first_row..<end_row of the result, outputs of the panels first..<end.
void ctti_convolve(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch);

// The same of rounded rows, see ctti_multiply_rounded.
void ctti_convolve_rounded(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch);

// A kernel in 8-bit integers, and an image's unit: see linear_int8.h.
typedef struct {
    const int8_t *panels;
    const float *scales;
    const int32_t *zeros;
    float x_scale, x_inverse;
} ctti_int8_kernel;

// The same of integers.
size_t ctti_convolution_int8_scratch(const ctti_convolution *call, size_t rows);
void ctti_convolve_int8(
    ctti_isa isa, const ctti_convolution *call, const ctti_int8_kernel *kernel, size_t first_row, size_t end_row,
    size_t first, size_t end, float *scratch);

// Each channel with its own kernel [kernel_height, kernel_width, channels], zero padding to the same size.
typedef struct {
    const float *image;
    const float *weight;
    float *y;
    size_t height, width, channels;
    size_t kernel_height, kernel_width;
} ctti_depthwise;

// Rows first_row..<end_row of the result.
void ctti_convolve_depthwise(ctti_isa isa, const ctti_depthwise *call, size_t first_row, size_t end_row);
