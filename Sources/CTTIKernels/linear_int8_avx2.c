// Products of int8 in AVX2, and how rows are quantised. There is no instruction for four products of bytes, and a sum of two of
// them in 16 bits may overflow. Two ways that cannot:
//
// One or two rows are bound by the bytes of the weights, which come from memory as one stream. A weight takes the sign of its
// input and meets the input's magnitude: 2 · 127² fits 16 bits. One core of Zen 4: 36 and 24 GB/s (reading does 29 to 37).
// More rows share weights that are widened to 16 bits once for all of them: tiles of six rows and eight outputs, whose inputs,
// widened, lie in a buffer (again for every panel: 16 inputs of a row in one instruction, beside 64 for its 32 outputs). Either way it is four instructions for 32 multiply-adds, where float32 takes four: 120 to 125 GOP/s
// where float32 does 80 to 86.
//
// Sums are exact in both, so the bits are those of every other instruction set.
#if defined(__x86_64__)

#include <math.h>

#include "linear_int8_end_avx2.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline TARGET __attribute__((always_inline))

// Inputs that are widened at a time; how many bytes of weights are on their way.
enum { most_rows = 6, most_streamed = 2, chunk = 512, ahead = 8192 };

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

INLINE __m256i four_of(const int8_t *inputs) {
    int32_t four;
    memcpy(&four, inputs, sizeof four);
    return _mm256_set1_epi32(four);
}

// One or two rows and a panel.
INLINE void stream(int rows, const ctti_int8_product *product, size_t row, size_t panel) {
    const int8_t *place = product->panels + panel * 32 * product->inputs;
    int8_t inputs[most_streamed][chunk], magnitudes[most_streamed][chunk];
    __m256i sums[most_streamed][4];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < 4; v++) sums[r][v] = _mm256_setzero_si256();
    }
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t first = 0; first < product->inputs; first += chunk) {
        size_t count = least(chunk, product->inputs - first);
        for (int r = 0; r < rows; r++) {
            const uint8_t *x = product->x + (row + (size_t)r) * product->row_stride + first;
            for (size_t i = 0; i < count; i++) {
                inputs[r][i] = (int8_t)(x[i] - 128);
                magnitudes[r][i] = (int8_t)(x[i] < 128 ? 128 - x[i] : x[i] - 128);
            }
        }
        for (size_t k = 0; k < count; k += 4, place += 128) {
            _mm_prefetch((const char *)place + ahead, _MM_HINT_T0);
            _mm_prefetch((const char *)place + ahead + 64, _MM_HINT_T0);
            __m256i factors[most_streamed], sizes[most_streamed];
#pragma clang loop unroll(full)
            for (int r = 0; r < rows; r++) {
                factors[r] = four_of(inputs[r] + k);
                sizes[r] = four_of(magnitudes[r] + k);
            }
#pragma clang loop unroll(full)
            for (int v = 0; v < 4; v++) {
                __m256i weights = _mm256_loadu_si256((const __m256i *)(place + 32 * v));
                for (int r = 0; r < rows; r++) {
                    __m256i pairs = _mm256_maddubs_epi16(sizes[r], _mm256_sign_epi8(weights, factors[r]));
                    sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    size_t column = panel * 32, left = product->outputs - column;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (size_t v = 0; v < 4; v++) {
            if (8 * v < left) ctti_finish_int8_avx2(product, sums[r][v], row + (size_t)r, column + 8 * v, left - 8 * v);
        }
    }
}

// What `count` inputs add to the sums of some rows and eight outputs, whose weights begin at `place`. A sum is four outputs,
// each with its even and its odd pairs of inputs beside each other.
INLINE void add_tile(
    int rows, __m256i sums[most_rows][2], const int16_t inputs[most_rows][chunk], const int8_t *place, size_t count,
    bool begins_line) {
    __m256i added[most_rows][2];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < 2; v++) added[r][v] = _mm256_loadu_si256(&sums[r][v]);
    }
    for (size_t k = 0; k < count; k += 4, place += 128) {
        if (begins_line) _mm_prefetch((const char *)place + ahead, _MM_HINT_T0);
        __m256i first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)place));
        __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(place + 16)));
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            int64_t four;
            memcpy(&four, inputs[r] + k, sizeof four);
            __m256i factors = _mm256_set1_epi64x(four);
            added[r][0] = _mm256_add_epi32(added[r][0], _mm256_madd_epi16(factors, first));
            added[r][1] = _mm256_add_epi32(added[r][1], _mm256_madd_epi16(factors, second));
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < 2; v++) _mm256_storeu_si256(&sums[r][v], added[r][v]);
    }
}

// Three to six rows and a panel.
INLINE void tile(int rows, const ctti_int8_product *product, size_t row, size_t panel) {
    const int8_t *place = product->panels + panel * 32 * product->inputs;
    size_t column = panel * 32, left = least(32, product->outputs - column);
    int16_t inputs[most_rows][chunk];
    __m256i sums[4][most_rows][2];
    memset(sums, 0, sizeof sums);
    for (size_t k = 0; k < product->inputs; k += chunk, place += 32 * chunk) {
        size_t count = least(chunk, product->inputs - k);
        for (int r = 0; r < rows; r++) {
            const uint8_t *x = product->x + (row + (size_t)r) * product->row_stride + k;
            for (size_t i = 0; i < count; i++) inputs[r][i] = (int16_t)(x[i] - 128);
        }
        for (size_t part = 0; 8 * part < left; part++) {
            add_tile(rows, sums[part], inputs, place + 32 * part, count, part % 2 == 0);
        }
    }
    for (int r = 0; r < rows; r++) {
        for (size_t part = 0; 8 * part < left; part++) {
            // Neighbours are added in lanes of 128 bits: outputs 0 1 4 5 2 3 6 7.
            __m256i whole = _mm256_hadd_epi32(sums[part][r][0], sums[part][r][1]);
            ctti_finish_int8_avx2(product, _mm256_permute4x64_epi64(whole, 0xd8), row + (size_t)r, column + 8 * part, left - 8 * part);
        }
    }
}

#define ROWS(name, rows)                                                                              \
    TARGET static void name##_##rows(const ctti_int8_product *product, size_t row, size_t panel) {    \
        name(rows, product, row, panel);                                                              \
    }
ROWS(stream, 1) ROWS(stream, 2) ROWS(tile, 3) ROWS(tile, 4) ROWS(tile, 5) ROWS(tile, 6)

static const ctti_int8_tile kernels[most_rows + 1] = {
    NULL, stream_1, stream_2, tile_3, tile_4, tile_5, tile_6,
};

void ctti_multiply_int8_avx2(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    ctti_multiply_int8_tiles(kernels, most_rows, product, first_row, end_row, first, end);
}

TARGET void ctti_quantize_rows_avx2(
    uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride, size_t rows,
    size_t count, size_t padded) {
    const __m256 sign = _mm256_set1_ps(-0.0f), infinity = _mm256_set1_ps(INFINITY);
    size_t whole = count / 8 * 8;
    for (size_t row = 0; row < rows; row++, target += target_stride, source += source_stride) {
        float rest[8] = {0};
        memcpy(rest, source + whole, (count - whole) * sizeof(float));
        __m256 largest = _mm256_setzero_ps(), strange = largest;
        for (size_t i = 0; i < count; i += 8) {
            __m256 magnitude = _mm256_andnot_ps(sign, _mm256_loadu_ps(i < whole ? source + i : rest));
            strange = _mm256_or_ps(strange, _mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
            largest = _mm256_max_ps(magnitude, largest);
        }
        float magnitudes[8], most = 0;
        _mm256_storeu_ps(magnitudes, largest);
        for (int i = 0; i < 8; i++) most = magnitudes[i] > most ? magnitudes[i] : most;
        bool is_finite = _mm256_movemask_ps(strange) == 0;
        scales[row] = is_finite ? most / 127.0f : NAN;
        __m256 inverse = _mm256_set1_ps(most > CTTI_INT8_LEAST && is_finite ? 127.0f / most : 0);
        for (size_t i = 0; i < count; i += 8) {
            __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(i < whole ? source + i : rest), inverse));
            __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
            __m128i bytes = _mm_xor_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(-128));
            uint8_t eight[8];
            _mm_storel_epi64((__m128i *)eight, bytes);
            memcpy(target + i, eight, i < whole ? 8 : count - whole);
        }
        memset(target + count, 128, padded - count);
    }
}

#endif
