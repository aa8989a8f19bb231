// Products in AVX2. Bounds and loops as in linear_avx512.c; a tile of six rows and 16 outputs keeps 12 of the 16 registers
// as sums, so a panel of 32 is passed twice (the second time from the cache), or once when there are at most two rows. Many
// rows: 78 to 95 % of the multiply-adds in registers (118 GFLOP/s); OpenBLAS's own AVX2 kernels: up to 91 %.
#if defined(__x86_64__)

#include <string.h>

#include "linear_tiles.h"
#include "math_avx2.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline TARGET __attribute__((always_inline))

enum { most_rows = 6, ahead = 8192 };

// Outputs 8h and on are vector 2h, outputs 16 + 8h and on are vector 2h + 1: as a bfloat16 panel of 32 pairs them. A panel
// of 16 has its outputs in order in vectors 0 and 1.
INLINE int output_of(int vector, int width) { return width == 16 ? 8 * vector : vector / 2 * 8 + vector % 2 * 16; }

INLINE void load_pair(__m256 weights[2], const char *place, int pair, int width, bool wide) {
    if (wide) {
        weights[0] = _mm256_loadu_ps((const float *)place + output_of(2 * pair, width));
        weights[1] = _mm256_loadu_ps((const float *)place + output_of(2 * pair + 1, width));
    } else if (width == 16) {
        __m256i halves = _mm256_loadu_si256((const __m256i *)place);
        __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(halves));
        __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(halves, 1));
        weights[0] = _mm256_castsi256_ps(_mm256_slli_epi32(low, 16));
        weights[1] = _mm256_castsi256_ps(_mm256_slli_epi32(high, 16));
    } else {
        __m256i pairs = _mm256_loadu_si256((const __m256i *)(place + 32 * pair));
        weights[0] = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
        weights[1] = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
    }
}

// `pairs` pairs of vectors from `first_pair` on.
INLINE void pass(
    int rows, int width, bool wide, int first_pair, int pairs, const ctti_product *product, const float *x,
    const void *panel, const float *start, float *sums_out) {
    __m256 sums[most_rows][4];
    for (int v = 0; v < 2 * pairs; v++) {
        __m256 value = _mm256_loadu_ps(start + output_of(2 * first_pair + v, width));
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) sums[row][v] = value;
    }
    const char *place = panel;
    size_t stride = product->row_stride, step = (size_t)width * (wide ? 4 : 2);
    for (size_t segment = 0; segment < product->segments; segment++) {
        const float *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < product->segment_depth; k++, run++, place += step) {
            _mm_prefetch(place + ahead, _MM_HINT_T0);
            if (step > 64) _mm_prefetch(place + ahead + 64, _MM_HINT_T0);
            __m256 weights[4];
            for (int pair = 0; pair < pairs; pair++) load_pair(weights + 2 * pair, place, first_pair + pair, width, wide);
#pragma clang loop unroll(full)
            for (int row = 0; row < rows; row++) {
                __m256 factor = _mm256_broadcast_ss(run + (size_t)row * stride);
                for (int v = 0; v < 2 * pairs; v++) sums[row][v] = _mm256_fmadd_ps(factor, weights[v], sums[row][v]);
            }
        }
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int v = 0; v < 2 * pairs; v++) {
            _mm256_storeu_ps(sums_out + row * ctti_panel_width + output_of(2 * first_pair + v, width), sums[row][v]);
        }
    }
}

INLINE void tile(
    int rows, int width, bool wide, const ctti_product *product, const float *x, const void *panel, const float *bias,
    const float *residual, float *y, size_t stored) {
    float start[ctti_panel_width] = {0}, sums[most_rows * ctti_panel_width];
    if (bias) memcpy(start, bias, stored * sizeof(float));
    if (width == 32 && rows <= 2) {
        pass(rows, width, wide, 0, 2, product, x, panel, start, sums);
    } else {
        pass(rows, width, wide, 0, 1, product, x, panel, start, sums);
        if (width == 32) pass(rows, width, wide, 1, 1, product, x, panel, start, sums);
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        float *sum = sums + row * ctti_panel_width;
        size_t place = (size_t)row * product->output_stride;
        for (size_t i = 0; residual && i < stored; i++) sum[i] += residual[place + i];
        memcpy(y + place, sum, stored * sizeof(float));
    }
}

#define TILE(name, rows, width, wide)                                                                            \
    TARGET static void name##_##rows(                                                                            \
        const ctti_product *product, const float *x, const void *panel, const float *bias, const float *residual, \
        float *y, size_t stored) {                                                                               \
        tile(rows, width, wide, product, x, panel, bias, residual, y, stored);                                   \
    }
#define TILES(name, width, wide)                                                             \
    TILE(name, 1, width, wide) TILE(name, 2, width, wide) TILE(name, 3, width, wide)         \
    TILE(name, 4, width, wide) TILE(name, 5, width, wide) TILE(name, 6, width, wide)
#define TABLE(name) {NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6}

TILES(half_narrow, 16, false)
TILES(half_wide, 32, false)
TILES(float_narrow, 16, true)
TILES(float_wide, 32, true)

INLINE __m256 activate(__m256 x, ctti_activation activation) {
    switch (activation) {
    case CTTI_RELU: return _mm256_max_ps(_mm256_setzero_ps(), x);
    case CTTI_GELU: return ctti_gelu_avx2(x);
    case CTTI_GELU_TANH: return ctti_gelu_tanh_avx2(x);
    case CTTI_QUICK_GELU: return ctti_quick_gelu_avx2(x);
    case CTTI_SILU: return ctti_silu_avx2(x);
    default: return x;
    }
}

TARGET static void finish(
    float *y, const float *residual, size_t stride, size_t rows, size_t width, ctti_activation activation) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < width; i += 8) {
            size_t count = width - i < 8 ? width - i : 8;
            float *place = y + row * stride + i;
            float buffer[8] = {0}, added[8] = {0};
            const float *source = place, *addend = residual ? residual + row * stride + i : added;
            if (count < 8) {
                source = memcpy(buffer, place, count * sizeof(float));
                if (residual) addend = memcpy(added, addend, count * sizeof(float));
            }
            __m256 value = activate(_mm256_loadu_ps(source), activation);
            if (residual) value = _mm256_add_ps(value, _mm256_loadu_ps(addend));
            if (count < 8) {
                _mm256_storeu_ps(buffer, value);
                memcpy(place, buffer, count * sizeof(float));
            } else {
                _mm256_storeu_ps(place, value);
            }
        }
    }
}

const ctti_linear_kernels ctti_linear_avx2 = {
    .most_rows = most_rows,
    .tiles = {{TABLE(half_narrow), TABLE(half_wide)}, {TABLE(float_narrow), TABLE(float_wide)}},
    .finish = finish,
};

#endif
