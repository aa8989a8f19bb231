// Depthwise convolution in plain C, compiled once for every instruction set.
//
// Bound: bytes of the image, which is read from the cache for every tap. Loops: rows, pixels, blocks of channels whose sums
// stay in registers, taps.
#pragma once

#include <string.h>

#include "CTTIKernels.h"

enum { ctti_depthwise_block = 64 };

// Up to 64 channels of one pixel, taps ky0..<ky1, kx0..<kx1 of the kernel inside the image; `source` is tap (ky0, kx0)'s.
static inline __attribute__((always_inline)) void ctti_depthwise_pixel(
    const ctti_depthwise *call, const float *source, const float *weight, float *target, size_t ky_count,
    size_t kx_count, size_t count) {
    size_t channels = call->channels;
    float sums[ctti_depthwise_block] = {0};
    for (size_t ky = 0; ky < ky_count; ky++) {
        for (size_t kx = 0; kx < kx_count; kx++) {
            const float *x = source + (ky * call->width + kx) * channels;
            const float *w = weight + (ky * call->kernel_width + kx) * channels;
            for (size_t i = 0; i < count; i++) sums[i] += x[i] * w[i];
        }
    }
    memcpy(target, sums, count * sizeof(float));
}

static inline __attribute__((always_inline)) void ctti_depthwise_rows(
    const ctti_depthwise *call, size_t first_row, size_t end_row) {
    size_t channels = call->channels, top = call->kernel_height / 2, left = call->kernel_width / 2;
    for (size_t y = first_row; y < end_row; y++) {
        size_t ky0 = y < top ? top - y : 0, below = call->height - 1 - y;
        size_t ky1 = call->kernel_height - (below < top ? top - below : 0);
        for (size_t x = 0; x < call->width; x++) {
            size_t kx0 = x < left ? left - x : 0, beside = call->width - 1 - x;
            size_t kx1 = call->kernel_width - (beside < left ? left - beside : 0);
            const float *source = call->image + ((y + ky0 - top) * call->width + (x + kx0 - left)) * channels;
            const float *weight = call->weight + (ky0 * call->kernel_width + kx0) * channels;
            float *target = call->y + (y * call->width + x) * channels;
            size_t begin = 0;
            for (; begin + ctti_depthwise_block <= channels; begin += ctti_depthwise_block) {
                ctti_depthwise_pixel(
                    call, source + begin, weight + begin, target + begin, ky1 - ky0, kx1 - kx0, ctti_depthwise_block);
            }
            ctti_depthwise_pixel(
                call, source + begin, weight + begin, target + begin, ky1 - ky0, kx1 - kx0, channels - begin);
        }
    }
}
