// Products in AVX-512.
//
// Few rows are bound by the bytes of the weights: a panel streams past all rows, in one piece, 8 KB of it on their way.
// Read from memory by one core of a Zen 5 server, in CPU time, against plain reading (34 to 37 GB/s) in turns: bfloat16
// 100 % with 1 and 2 rows, 98 % with 4, 75 % with 8 (16 multiply-adds for 64 bytes are 8 cycles: arithmetic is the bound);
// float32 100 % up to 8 rows. From a cache one panel's two chains are too few: hence strips of two panels.
//
// Many rows are bound by multiply-adds: a tile of 14 rows and 32 outputs keeps 28 sums in registers and needs, for each
// input, two loads of weights and 14 broadcasts for 28 multiply-adds. 89 to 95 % of the multiply-adds that the core does in
// registers (236 GFLOP/s), from 8 rows to 1024, up to 4096 inputs, in both types; OpenBLAS 0.3.21, which takes that
// processor for a Haswell, reaches 33 GFLOP/s with 8 rows and 66 to 111 with more.
//
// The sums stay in registers only while every loop over rows and vectors is unrolled: one loop that is not costs a factor of
// three, and only in the largest tiles.
//
// Loops: panels (ctti_multiply), tiles of rows, segments and inputs.
#if defined(__x86_64__)

#include "linear_tiles.h"
#include "linear_end_avx512.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define INLINE static inline TARGET __attribute__((always_inline))

// How many bytes of weights are on their way: in a tile, whose weights come from memory, and in a strip.
enum { far_ahead = 8192, ahead = 2048 };

// The 16 or 32 weights of one input: in bfloat16 the low halves of their pairs, or the high ones when it is odd.
INLINE void load_weights(__m512 weights[2], const char *place, int vectors, bool wide, bool odd) {
    for (int v = 0; v < vectors; v++) {
        __m512i line = _mm512_loadu_si512(place + 64 * v);
        if (!wide) line = odd ? _mm512_and_si512(line, _mm512_set1_epi32((int)0xffff0000u)) : _mm512_slli_epi32(line, 16);
        weights[v] = _mm512_castsi512_ps(line);
    }
}

// The products of one input, or of both of a pair when `count` is 2.
INLINE void multiply_inputs(
    __m512 sums[][2], int rows, int vectors, bool wide, size_t stride, const float *run, const char *place, int count) {
#pragma clang loop unroll(full)
    for (int odd = 0; odd < count; odd++) {
        __m512 weights[2];
        load_weights(weights, place, vectors, wide, odd);
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) {
            __m512 factor = _mm512_set1_ps(run[(size_t)row * stride + (size_t)odd]);
            for (int v = 0; v < vectors; v++) sums[row][v] = _mm512_fmadd_ps(factor, weights[v], sums[row][v]);
            // Compilers load the second input's factors early, and then have no registers left for the sums.
            for (int v = 0; count > 1 && v < vectors; v++) __asm__ volatile("" : "+v"(sums[row][v]) : : "memory");
        }
    }
}

INLINE void tile(
    int rows, int vectors, bool wide, const ctti_product *product, const float *x, const void *panel, const float *bias,
    const float *residual, float *y, size_t width) {
    __mmask16 masks[2] = {ctti_mask_of(width), ctti_mask_of(width > 16 ? width - 16 : 0)};
    __m512 sums[ctti_most_rows][2];
    for (int v = 0; v < vectors; v++) {
        __m512 start = bias ? _mm512_maskz_loadu_ps(masks[v], bias + 16 * v) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++) sums[row][v] = start;
    }
    const char *place = panel;
    // A line of 16 or 32 float32 weights, or of as many pairs of bfloat16 ones.
    size_t stride = product->row_stride, step = (size_t)vectors * 64, depth = product->segment_depth;
    size_t whole = wide ? depth : depth / 2, zeros = wide ? 0 : ctti_packed_depth(false, depth) / 2 - whole - depth % 2;
    for (size_t segment = 0; segment < product->segments; segment++, place += zeros * step) {
        const float *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < whole; k++, run += wide ? 1 : 2, place += step) {
            const char *next = place + far_ahead;
            _mm_prefetch(next, _MM_HINT_T0);
            if (step > 64) _mm_prefetch(next + 64, _MM_HINT_T0);
            multiply_inputs(sums, rows, vectors, wide, stride, run, place, wide ? 1 : 2);
        }
        if (!wide && depth % 2 == 1) {
            multiply_inputs(sums, rows, vectors, wide, stride, run, place, 1);
            place += step;
        }
    }
    if (residual) {
#pragma clang loop unroll(full)
        for (int row = 0; row < rows; row++, residual += product->output_stride) {
            for (int v = 0; v < vectors; v++) {
                sums[row][v] = _mm512_add_ps(sums[row][v], _mm512_maskz_loadu_ps(masks[v], residual + 16 * v));
            }
        }
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++, y += product->output_stride) {
        for (int v = 0; v < vectors; v++) _mm512_mask_storeu_ps(y + 16 * v, masks[v], sums[row][v]);
    }
}

INLINE void strip(
    int count, int rows, bool wide, const ctti_product *product, const float *x, const void *panels, const float *bias,
    const float *residual, float *y) {
    __m512 sums[4][2][2];
#pragma clang loop unroll(full)
    for (int panel = 0; panel < count; panel++) {
        for (int v = 0; v < 2; v++) {
            __m512 start = bias ? _mm512_loadu_ps(bias + panel * ctti_panel_width + 16 * v) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
            for (int row = 0; row < rows; row++) sums[panel][row][v] = start;
        }
    }
    const char *place = panels;
    size_t stride = product->row_stride, depth = product->segment_depth;
    size_t whole = wide ? depth : depth / 2, lines = wide ? depth : ctti_packed_depth(false, depth) / 2;
    size_t panel_bytes = product->segments * lines * 128;
    for (size_t segment = 0; segment < product->segments; segment++, place += (lines - whole) * 128) {
        const float *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < whole; k++, run += wide ? 1 : 2, place += 128) {
#pragma clang loop unroll(full)
            for (int panel = 0; panel < count; panel++) {
                const char *source = place + (size_t)panel * panel_bytes;
                _mm_prefetch(source + ahead, _MM_HINT_T0);
                _mm_prefetch(source + ahead + 64, _MM_HINT_T0);
                multiply_inputs(sums[panel], rows, 2, wide, stride, run, source, wide ? 1 : 2);
            }
        }
        for (int panel = 0; !wide && depth % 2 == 1 && panel < count; panel++) {
            multiply_inputs(sums[panel], rows, 2, wide, stride, run, place + (size_t)panel * panel_bytes, 1);
        }
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int part = 0; part < 2 * count; part++) {
            size_t offset = (size_t)row * product->output_stride + 16 * (size_t)part;
            __m512 sum = sums[part / 2][row][part % 2];
            if (residual) sum = _mm512_add_ps(sum, _mm512_loadu_ps(residual + offset));
            _mm512_storeu_ps(y + offset, sum);
        }
    }
}

#define TILE(name, rows, vectors, wide)                                                                          \
    TARGET static void name##_##rows(                                                                            \
        const ctti_product *product, const float *x, const void *panel, const float *bias, const float *residual, \
        float *y, size_t width) {                                                                                \
        tile(rows, vectors, wide, product, x, panel, bias, residual, y, width);                                  \
    }
#define TILES(name, vectors, wide)                                                                              \
    TILE(name, 1, vectors, wide) TILE(name, 2, vectors, wide) TILE(name, 3, vectors, wide)                      \
    TILE(name, 4, vectors, wide) TILE(name, 5, vectors, wide) TILE(name, 6, vectors, wide)                      \
    TILE(name, 7, vectors, wide) TILE(name, 8, vectors, wide) TILE(name, 9, vectors, wide)                      \
    TILE(name, 10, vectors, wide) TILE(name, 11, vectors, wide) TILE(name, 12, vectors, wide)                   \
    TILE(name, 13, vectors, wide) TILE(name, 14, vectors, wide)
#define TABLE(name)                                                                                             \
    {NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7, name##_8, name##_9, name##_10, \
     name##_11, name##_12, name##_13, name##_14}
#define STRIP(name, count, rows, wide)                                                                             \
    TARGET static void name(                                                                                       \
        const ctti_product *product, const float *x, const void *panels, const float *bias, const float *residual, \
        float *y) {                                                                                                \
        strip(count, rows, wide, product, x, panels, bias, residual, y);                                           \
    }

TILES(half_narrow, 1, false)
TILES(half_wide, 2, false)
TILES(float_narrow, 1, true)
TILES(float_wide, 2, true)
STRIP(half_two_1, 2, 1, false)
STRIP(half_two_2, 2, 2, false)
STRIP(float_two_1, 2, 1, true)
STRIP(float_two_2, 2, 2, true)
STRIP(half_four_1, 4, 1, false)
STRIP(half_four_2, 4, 2, false)
STRIP(float_four_1, 4, 1, true)
STRIP(float_four_2, 4, 2, true)

TARGET static void finish(
    float *y, const float *residual, size_t stride, size_t rows, size_t width, ctti_activation activation) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < width; i += 16) {
            __mmask16 mask = ctti_mask_of(width - i);
            float *place = y + row * stride + i;
            __m512 value = ctti_activate_avx512(_mm512_maskz_loadu_ps(mask, place), activation);
            if (residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, residual + row * stride + i));
            _mm512_mask_storeu_ps(place, mask, value);
        }
    }
}

const ctti_linear_kernels ctti_linear_avx512 = {
    .most_rows = ctti_most_rows,
    .tiles = {{TABLE(half_narrow), TABLE(half_wide)}, {TABLE(float_narrow), TABLE(float_wide)}},
    .strips =
        {{{NULL, half_two_1, half_two_2}, {NULL, float_two_1, float_two_2}},
         {{NULL, half_four_1, half_four_2}, {NULL, float_four_1, float_four_2}}},
    .finish = finish,
};

#endif
