// Products in AVX2. Bounds and loops as in linear_avx512.c; a tile of six rows and 16 outputs keeps 12 of the 16 registers
// as sums, so a panel of 32 is passed twice (the second time from the cache), or once when there are at most two rows. Many
// rows: 78 to 95 % of the multiply-adds in registers (118 GFLOP/s); OpenBLAS's own AVX2 kernels: up to 91 %.
#if defined(__x86_64__)

#include <string.h>

#include "linear_end_avx2.h"
#include "linear_tiles.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline TARGET __attribute__((always_inline))

enum { most_rows = 6, ahead = 8192 };

INLINE __m256i pairs_high(void) { return _mm256_set1_epi32((int)0xffff0000u); }

// One input of float32 weights, or the even one of a pair in bfloat16 and then the odd one: `pairs` pairs of vectors, whose
// weights are held while all rows go by. With 12 sums, two weights and a row's input one register is left: what the odd
// half needs is loaded again instead of being kept beside the even half, or the compiler moves sums to memory and back.
INLINE void multiply_inputs(
    __m256 sums[][4], int rows, bool wide, int pairs, size_t stride, const float *run, const char *place, int count) {
#pragma clang loop unroll(full)
    for (int odd = 0; odd < count; odd++) {
        __m256 weights[4];
        for (int v = 0; v < 2 * pairs; v++) {
            __m256i pair = _mm256_loadu_si256((const __m256i *)(place + 32 * v));
            if (!wide) pair = odd ? _mm256_and_si256(pairs_high(), pair) : _mm256_slli_epi32(pair, 16);
            weights[v] = _mm256_castsi256_ps(pair);
        }
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) {
            __m256 factor = _mm256_broadcast_ss(run + (size_t)row * stride + odd);
            for (int v = 0; v < 2 * pairs; v++) sums[row][v] = _mm256_fmadd_ps(factor, weights[v], sums[row][v]);
        }
        __asm__("" : "+r"(place));
    }
}

// Both inputs of a pair for one or two rows and 32 outputs: here the rows' inputs are held while the weights go by.
INLINE void multiply_pair(__m256 sums[][4], int rows, size_t stride, const float *run, const char *place) {
    __m256 factors[2][2];
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int odd = 0; odd < 2; odd++) factors[row][odd] = _mm256_broadcast_ss(run + (size_t)row * stride + odd);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
        __m256i pair = _mm256_loadu_si256((const __m256i *)(place + 32 * v));
        __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
        __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(pairs_high(), pair));
        for (int row = 0; row < rows; row++) sums[row][v] = _mm256_fmadd_ps(factors[row][0], even, sums[row][v]);
        for (int row = 0; row < rows; row++) sums[row][v] = _mm256_fmadd_ps(factors[row][1], odd, sums[row][v]);
    }
}

// `pairs` pairs of vectors from `first_pair` on.
INLINE void pass(
    int rows, int width, bool wide, int first_pair, int pairs, const ctti_product *product, const float *x,
    const void *panel, const float *start, float *sums_out) {
    __m256 sums[most_rows][4];
    for (int v = 0; v < 2 * pairs; v++) {
        __m256 value = _mm256_loadu_ps(start + 8 * (2 * first_pair + v));
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) sums[row][v] = value;
    }
    const char *place = panel;
    // A line of 16 or 32 float32 weights, or of as many pairs of bfloat16 ones.
    size_t stride = product->row_stride, step = (size_t)width * 4, depth = product->segment_depth;
    size_t whole = wide ? depth : depth / 2, zeros = wide ? 0 : ctti_packed_depth(false, depth) / 2 - whole - depth % 2;
    for (size_t segment = 0; segment < product->segments; segment++, place += zeros * step) {
        const float *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < whole; k++, run += wide ? 1 : 2, place += step) {
            _mm_prefetch(place + ahead, _MM_HINT_T0);
            if (step > 64) _mm_prefetch(place + ahead + 64, _MM_HINT_T0);
            if (!wide && pairs == 2) {
                multiply_pair(sums, rows, stride, run, place);
            } else {
                multiply_inputs(sums, rows, wide, pairs, stride, run, place + 64 * first_pair, wide ? 1 : 2);
            }
        }
        if (!wide && depth % 2 == 1) {
            multiply_inputs(sums, rows, wide, pairs, stride, run, place + 64 * first_pair, 1);
            place += step;
        }
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int v = 0; v < 2 * pairs; v++) {
            _mm256_storeu_ps(sums_out + row * ctti_panel_width + 8 * (2 * first_pair + v), sums[row][v]);
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
            __m256 value = ctti_activate_avx2(_mm256_loadu_ps(source), activation);
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
