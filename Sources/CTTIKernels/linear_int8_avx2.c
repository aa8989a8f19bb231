// Products of int8 in AVX2: bytes widened to 16 bits, products of pairs added to 32 bits, which nothing can overflow.
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "linear_int8.h"
#include "math_avx2.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))

static inline TARGET __m256 activate(__m256 x, ctti_activation activation) {
    switch (activation) {
    case CTTI_RELU: return _mm256_max_ps(_mm256_setzero_ps(), x);
    case CTTI_GELU: return ctti_gelu_avx2(x);
    case CTTI_GELU_TANH: return ctti_gelu_tanh_avx2(x);
    case CTTI_QUICK_GELU: return ctti_quick_gelu_avx2(x);
    case CTTI_SILU: return ctti_silu_avx2(x);
    default: return x;
    }
}

// Sums of one row and `width` outputs from `column` on become outputs; up to eight.
static inline TARGET void finish(
    const ctti_int8_product *product, __m256i sums, size_t row, size_t column, size_t width) {
    float values[8], bias[8] = {0}, residual[8] = {0};
    if (product->bias) memcpy(bias, product->bias + column, width * sizeof(float));
    size_t place = row * product->output_stride + column;
    if (product->residual) memcpy(residual, product->residual + place, width * sizeof(float));
    sums = _mm256_sub_epi32(sums, _mm256_loadu_si256((const __m256i *)(product->zeros + column)));
    __m256 scale = _mm256_mul_ps(_mm256_set1_ps(product->x_scales[row]), _mm256_loadu_ps(product->scales + column));
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    // Not fused: the sum is rounded on its own everywhere.
    __asm__("" : "+x"(value));
    value = activate(_mm256_add_ps(value, _mm256_loadu_ps(bias)), product->activation);
    if (product->residual) value = _mm256_add_ps(value, _mm256_loadu_ps(residual));
    _mm256_storeu_ps(values, value);
    memcpy(product->y + place, values, width * sizeof(float));
}

TARGET void ctti_multiply_int8_avx2(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    for (size_t panel = first; panel < end; panel++) {
        size_t column = panel * 32, left = product->outputs - column;
        for (size_t row = first_row; row < end_row; row++) {
            const uint8_t *x = product->x + row * product->row_stride;
            // Eight outputs at a time, of which each has two sums.
            for (size_t part = 0; part < 4 && 8 * part < left; part++) {
                const int8_t *weights = product->panels + panel * 32 * product->inputs + 32 * part;
                __m256i low = _mm256_setzero_si256(), high = low;
                for (size_t k = 0; k < product->inputs; k += 4, weights += 128) {
                    int32_t four;
                    memcpy(&four, x + k, sizeof four);
                    __m256i factors = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
                    __m256i first_four = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));
                    __m256i next_four = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + 16)));
                    low = _mm256_add_epi32(low, _mm256_madd_epi16(factors, first_four));
                    high = _mm256_add_epi32(high, _mm256_madd_epi16(factors, next_four));
                }
                // Halves are added in lanes of 128 bits: outputs 0 1 4 5 2 3 6 7.
                __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), 0xd8);
                size_t width = left - 8 * part;
                finish(product, sums, row, column + 8 * part, width < 8 ? width : 8);
            }
        }
    }
}

#endif
