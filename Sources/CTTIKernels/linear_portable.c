// Products in plain C, written so that compilers vectorise the innermost loops over 16 outputs: the sums of four rows are
// 16 registers of four floats. A panel of 32 is passed twice. Bound as in linear_avx512.c; correct rather than fast.
#include <string.h>

#include "linear_tiles.h"
#include "math_portable.h"

#define INLINE static inline __attribute__((always_inline))

enum { most_rows = 4, lanes = 16 };

// Outputs 16 · half and on; `stored` of them.
INLINE void half_tile(
    int rows, int width, bool wide, size_t half, const ctti_product *product, const float *x, const void *panel,
    const float *bias, const float *residual, float *y, size_t stored) {
    float sums[most_rows][lanes] = {{0}};
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (size_t i = 0; bias && i < stored; i++) sums[row][i] = bias[i];
    }
    size_t place = 0;
    for (size_t segment = 0; segment < product->segments; segment++) {
        const float *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < product->segment_depth; k++) {
            float weights[lanes];
            if (wide) {
                memcpy(weights, (const float *)panel + place + k * (size_t)width + lanes * half, sizeof weights);
            } else {
                // Pairs: the low half is an even input's, the high half the next one's.
                uint32_t pairs[lanes];
                const uint16_t *pair = (const uint16_t *)panel + place + k / 2 * 2 * (size_t)width;
                memcpy(pairs, pair + 2 * lanes * half, sizeof pairs);
                for (int i = 0; i < lanes; i++) {
                    weights[i] = ctti_float_of_bits(k % 2 ? pairs[i] & 0xffff0000u : pairs[i] << 16);
                }
            }
#pragma clang loop unroll(full)
            for (int row = 0; row < rows; row++) {
                float factor = run[(size_t)row * product->row_stride + k];
                for (int i = 0; i < lanes; i++) sums[row][i] += factor * weights[i];
            }
        }
        place += ctti_packed_depth(wide, product->segment_depth) * (size_t)width;
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        size_t place = (size_t)row * product->output_stride;
        for (size_t i = 0; residual && i < stored; i++) sums[row][i] += residual[place + i];
        memcpy(y + place, sums[row], stored * sizeof(float));
    }
}

INLINE void tile(
    int rows, int width, bool wide, const ctti_product *product, const float *x, const void *panel, const float *bias,
    const float *residual, float *y, size_t stored) {
    half_tile(rows, width, wide, 0, product, x, panel, bias, residual, y, stored < lanes ? stored : lanes);
    if (stored <= lanes) return;
    bias = bias ? bias + lanes : NULL;
    residual = residual ? residual + lanes : NULL;
    half_tile(rows, width, wide, 1, product, x, panel, bias, residual, y + lanes, stored - lanes);
}

#define TILE(name, rows, width, wide)                                                                            \
    static void name##_##rows(                                                                            \
        const ctti_product *product, const float *x, const void *panel, const float *bias, const float *residual, \
        float *y, size_t stored) {                                                                               \
        tile(rows, width, wide, product, x, panel, bias, residual, y, stored);                                   \
    }
#define TILES(name, width, wide) \
    TILE(name, 1, width, wide) TILE(name, 2, width, wide) TILE(name, 3, width, wide) TILE(name, 4, width, wide)
#define TABLE(name) {NULL, name##_1, name##_2, name##_3, name##_4}

TILES(half_narrow, 16, false)
TILES(half_wide, 32, false)
TILES(float_narrow, 16, true)
TILES(float_wide, 32, true)

static void finish(
    float *y, const float *residual, size_t stride, size_t rows, size_t width, ctti_activation activation) {
    for (size_t row = 0; row < rows; row++, y += stride) {
        switch (activation) {
        case CTTI_RELU:
            for (size_t i = 0; i < width; i++) y[i] = y[i] < 0 ? 0 : y[i];
            break;
        case CTTI_GELU:
            for (size_t i = 0; i < width; i++) y[i] = ctti_gelu(y[i]);
            break;
        case CTTI_GELU_TANH:
            for (size_t i = 0; i < width; i++) y[i] = ctti_gelu_tanh(y[i]);
            break;
        case CTTI_QUICK_GELU:
            for (size_t i = 0; i < width; i++) y[i] = ctti_quick_gelu(y[i]);
            break;
        case CTTI_SILU:
            for (size_t i = 0; i < width; i++) y[i] = ctti_silu(y[i]);
            break;
        default: break;
        }
        if (residual) {
            for (size_t i = 0; i < width; i++) y[i] += residual[row * stride + i];
        }
    }
}

const ctti_linear_kernels ctti_linear_portable = {
    .most_rows = most_rows,
    .tiles = {{TABLE(half_narrow), TABLE(half_wide)}, {TABLE(float_narrow), TABLE(float_wide)}},
    .finish = finish,
};
