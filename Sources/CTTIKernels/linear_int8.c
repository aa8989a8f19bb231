// Products of int8: which kernel, how weights are packed, and the plain one.
#include <math.h>
#include <string.h>

#include "linear_int8.h"
#include "math_portable.h"

#if defined(__x86_64__)
static bool has_vnni(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512vnni");
}

// AVX-VNNI: the same instruction for processors without AVX-512 (Alder Lake and its successors).
static bool has_avxvnni(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avxvnni");
}
#endif

void ctti_multiply_int8(
    ctti_isa isa, bool on_tiles, const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first,
    size_t end) {
    ctti_int8_multiply multiply = ctti_multiply_int8_portable;
#if defined(__x86_64__)
    if (isa >= CTTI_AVX2) multiply = has_avxvnni() ? ctti_multiply_int8_avxvnni : ctti_multiply_int8_avx2;
    if (isa >= CTTI_AVX512 && has_vnni()) multiply = ctti_multiply_int8_vnni;
    // As for other types: processors with tiles read four streams of weights faster than one.
    if (isa == CTTI_AMX && end_row - first_row <= 2) multiply = ctti_multiply_int8_vnni_strips;
    if (isa == CTTI_AMX && on_tiles) {
        ctti_multiply_int8_amx(product, first_row / 16, (end_row + 15) / 16, first, end);
        return;
    }
#endif
    (void)isa, (void)on_tiles;
    multiply(product, first_row, end_row, first, end);
}

void ctti_multiply_int8_groups(
    ctti_isa isa, const ctti_int8_product *product, size_t groups, size_t first, size_t end) {
#if defined(__x86_64__)
    if (isa == CTTI_AMX) {
        ctti_multiply_int8_amx(product, 0, (product->rows + 15) / 16 * groups, first, end);
        return;
    }
#endif
    (void)isa;
    ctti_int8_product group = *product;
    for (size_t i = 0; i < groups; i++) {
        ctti_multiply_int8_portable(&group, 0, group.rows, first, end);
        group.x += group.group_stride;
        group.y += group.group_output_stride;
        if (group.residual) group.residual += group.group_output_stride;
    }
}

// Scale, and its reciprocal: 0 for a row of all but zeros.
static float scale_of(float largest) { return largest / 127.0f; }
static float inverse_of(float largest) { return largest > CTTI_INT8_LEAST ? 127.0f / largest : 0; }

float ctti_int8_scale(float largest) { return largest < INFINITY ? scale_of(largest) : NAN; }
float ctti_int8_inverse(float largest) { return largest < INFINITY ? inverse_of(largest) : 0; }

// To nearest, ties to even, of numbers up to 127: adding 1.5 · 2^23 leaves the integer in the low bits.
static int32_t nearest(float x) {
    float shifted = x + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return bits - 0x4B400000;
}

size_t ctti_packed_int8_depth(size_t depth) {
    return (depth + CTTI_INT8_INPUTS - 1) / CTTI_INT8_INPUTS * CTTI_INT8_INPUTS;
}

// Where an input of an output is in a panel, zeros between runs counted.
static size_t place_in_panel(size_t output, size_t input) { return input / 4 * 128 + output * 4 + input % 4; }

void ctti_pack_int8(
    int8_t *panel, float *scales, int32_t *zeros, const float *matrix, size_t outputs, size_t segments, size_t depth) {
    size_t inputs = segments * depth, padded_depth = ctti_packed_int8_depth(depth);
    memset(panel, 0, segments * padded_depth * 32);
    for (size_t output = 0; output < 32; output++) {
        scales[output] = 0;
        zeros[output] = 0;
        if (output >= outputs) continue;
        const float *row = matrix + output * inputs;
        float largest = 0;
        bool is_finite = true;
        for (size_t i = 0; i < inputs; i++) {
            float magnitude = fabsf(row[i]);
            largest = magnitude > largest ? magnitude : largest;
            is_finite = is_finite && magnitude < INFINITY;
        }
        scales[output] = is_finite ? scale_of(largest) : NAN;
        float inverse = is_finite ? inverse_of(largest) : 0;
        int32_t sum = 0;
        for (size_t segment = 0; segment < segments; segment++) {
            for (size_t i = 0; i < depth; i++) {
                int32_t q = is_finite ? nearest(row[segment * depth + i] * inverse) : 0;
                panel[place_in_panel(output, segment * padded_depth + i)] = (int8_t)q;
                sum += q;
            }
        }
        zeros[output] = 128 * sum;
    }
}

void ctti_unpack_int8(
    int8_t *matrix, const int8_t *panels, size_t outputs, size_t segments, size_t depth, size_t panel) {
    size_t first = panel * 32, padded_depth = ctti_packed_int8_depth(depth);
    const int8_t *source = panels + first * segments * padded_depth;
    for (size_t output = 0; output < 32 && first + output < outputs; output++) {
        for (size_t segment = 0; segment < segments; segment++) {
            int8_t *run = matrix + ((first + output) * segments + segment) * depth;
            for (size_t i = 0; i < depth; i++) run[i] = source[place_in_panel(output, segment * padded_depth + i)];
        }
    }
}

// Magnitudes are in the order of their bits, and what is not finite comes last.
float ctti_largest(ctti_isa isa, const float *source, size_t count) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) return ctti_largest_avx512(source, count);
#endif
    (void)isa;
    int32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, source + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    float result;
    memcpy(&result, &largest, sizeof result);
    return result;
}

void ctti_quantize(ctti_isa isa, uint8_t *target, const float *source, size_t count, float inverse) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) {
        ctti_quantize_avx512(target, source, count, inverse);
        return;
    }
#endif
    (void)isa;
    for (size_t i = 0; i < count; i++) target[i] = (uint8_t)(128 + nearest(source[i] * inverse));
}

static void quantize_rows(
    uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride, size_t rows,
    size_t count, size_t padded) {
    for (size_t row = 0; row < rows; row++, target += target_stride, source += source_stride) {
        float largest = 0;
        bool is_finite = true;
        for (size_t i = 0; i < count; i++) {
            float magnitude = fabsf(source[i]);
            largest = magnitude > largest ? magnitude : largest;
            is_finite = is_finite && magnitude < INFINITY;
        }
        scales[row] = is_finite ? scale_of(largest) : NAN;
        float inverse = is_finite ? inverse_of(largest) : 0;
        for (size_t i = 0; i < count; i++) {
            target[i] = (uint8_t)(is_finite ? 128 + nearest(source[i] * inverse) : 128);
        }
        memset(target + count, 128, padded - count);
    }
}

void ctti_quantize_rows(
    ctti_isa isa, uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride,
    size_t rows, size_t count, size_t padded) {
#if defined(__x86_64__)
    if (isa >= CTTI_AVX512) {
        ctti_quantize_rows_avx512(target, target_stride, scales, source, source_stride, rows, count, padded);
        return;
    }
    if (isa == CTTI_AVX2) {
        ctti_quantize_rows_avx2(target, target_stride, scales, source, source_stride, rows, count, padded);
        return;
    }
#endif
    (void)isa;
    quantize_rows(target, target_stride, scales, source, source_stride, rows, count, padded);
}

static float activate(float x, ctti_activation activation) {
    switch (activation) {
    case CTTI_RELU: return x < 0 ? 0 : x;
    case CTTI_GELU: return ctti_gelu(x);
    case CTTI_GELU_TANH: return ctti_gelu_tanh(x);
    case CTTI_QUICK_GELU: return ctti_quick_gelu(x);
    case CTTI_SILU: return ctti_silu(x);
    default: return x;
    }
}

// Sums of one row become outputs. Statement by statement: a product and a sum in one are one rounding for some compilers.
static void finish(
    const ctti_int8_product *product, const int32_t *sums, size_t row, size_t column, size_t width) {
    for (size_t i = 0; i < width; i++) {
        size_t output = column + i, place = row * product->output_stride + output;
        float scale = product->x_scales[row * product->x_scale_step] * product->scales[output];
        float value = (float)(sums[i] - product->zeros[output]) * scale;
        float bias = product->bias ? product->bias[output] : 0;
        value = value + bias;
        value = activate(value, product->activation);
        product->y[place] = product->residual ? value + product->residual[place] : value;
    }
}

void ctti_multiply_int8_portable(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    for (size_t panel = first; panel < end; panel++) {
        const int8_t *weights = product->panels + panel * 32 * product->inputs;
        size_t column = panel * 32, left = product->outputs - column;
        for (size_t row = first_row; row < end_row; row++) {
            const uint8_t *x = product->x + row * product->row_stride;
            const int8_t *four = weights;
            int32_t sums[32] = {0};
            for (size_t segment = 0; segment < product->segments; segment++, x += product->segment_stride) {
                for (size_t k = 0; k < product->inputs / product->segments; k += 4, four += 128) {
                    for (size_t i = 0; i < 32; i++) {
                        sums[i] += x[k] * four[4 * i] + x[k + 1] * four[4 * i + 1] + x[k + 2] * four[4 * i + 2] +
                                   x[k + 3] * four[4 * i + 3];
                    }
                }
            }
            finish(product, sums, row, column, left < 32 ? left : 32);
        }
    }
}
