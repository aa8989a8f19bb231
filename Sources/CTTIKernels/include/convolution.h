// Convolutions over images [height, width, channels].
#pragma once

#include <stddef.h>

#include "instruction_set.h"

typedef struct {
    const float *image;  // [height, width, channels]
    size_t height, width, channels;
    size_t kernel_height, kernel_width;
    size_t output_width;
    size_t stride, top, left, upsampling;
} ctti_patches;

// What output pixels first..<end (row-major) see: patches [end - first, kernel_height, kernel_width, channels], zeros
// outside the image.
void ctti_gather_patches(const ctti_patches *call, size_t first, size_t end, float *patches);

// Each channel with its own kernel [kernel_height, kernel_width, channels], zero padding to the same size: rows
// first..<end of the result.
typedef struct {
    const float *image;
    const float *weight;
    float *y;
    size_t height, width, channels;
    size_t kernel_height, kernel_width;
} ctti_depthwise;

typedef struct {
    void (*depthwise)(const ctti_depthwise *call, size_t first_row, size_t end_row);
} ctti_convolution_kernels;

const ctti_convolution_kernels *ctti_convolution_kernels_for(ctti_isa isa);
