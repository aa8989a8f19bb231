// Norms over the last axis, over groups of channels, and over the pixels of a channel; float32.
#pragma once

#include <stddef.h>

#include "instruction_set.h"

typedef struct {
    // Layer norm (or RMS norm) of `rows` rows of `width`; weight, bias and modulation (scale, then shift: 2 · width) may
    // be null.
    void (*rows)(
        float *out, const float *x, size_t rows, size_t width, bool rms, float epsilon, const float *weight,
        const float *bias, const float *modulation);
    // The mean and the sum of squared deviations of every channel over the `pixels` pixels of one chunk.
    void (*channel_moments)(float *means, float *squares, const float *x, size_t pixels, size_t channels);
    // The least and the largest number of every channel over `pixels` pixels; what is not a number is passed over.
    void (*channel_ranges)(float *least, float *most, const float *x, size_t pixels, size_t channels);
    // squares[channels] = the sum of squares of every channel over `pixels` pixels.
    void (*channel_squares)(float *squares, const float *x, size_t pixels, size_t channels);
    // The mean and sum of squared deviations of every channel from those of its chunks, `moments[chunk][2][channels]`
    // (Chan, Golub, LeVeque 1979). A chunk has `pixels_each` pixels, the last one what is left.
    void (*combine_moments)(
        double *means, double *squares, const float *moments, size_t pixels, size_t pixels_each, size_t channels);
    // sums[channels] = the sum over `chunks` rows of x.
    void (*sum_chunks)(double *sums, const float *x, size_t chunks, size_t channels);
    // out = activation((x - mean[channel]) · scale[channel] + shift[channel]).
    void (*channel_affine)(
        float *out, const float *x, size_t pixels, size_t channels, const float *mean, const float *scale,
        const float *shift, int activation);
} ctti_norm_kernels;

extern const ctti_norm_kernels ctti_norm_portable, ctti_norm_avx2, ctti_norm_avx512;

const ctti_norm_kernels *ctti_norm(ctti_isa isa);
