// Few rows in plain C. Bound: bytes of the weights. Loops: blocks of 8 rows, outputs, 16 lanes of inputs, rows; a sum is
// 16 partial sums (input i in lane i mod 16), added pairwise at the end.
#include "linear_tables.h"
#include "math_portable.h"

enum { lanes = 16, most_rows = 8 };

static float widen(uint16_t bits) { return ctti_float_of_bits((uint32_t)bits << 16); }

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

static float sum_lanes(float *sums) {
    for (int width = lanes / 2; width > 0; width /= 2) {
        for (int lane = 0; lane < width; lane++) sums[lane] += sums[lane + width];
    }
    return sums[0];
}

static void finish_one(const ctti_linear *call, size_t row, size_t output, float sum) {
    if (call->bias) sum += call->bias[output];
    sum = activate(sum, call->activation);
    size_t place = row * call->outputs + output;
    if (call->residual) sum += call->residual[place];
    call->y[place] = sum;
}

// Adds the products of up to 16 weights, for inputs from `begin` on, to the sums of up to eight rows.
static void add_block(
    const ctti_linear *call, size_t first_row, size_t row_count, const float *block, size_t begin, size_t count,
    float sums[most_rows][lanes]) {
    for (size_t row = 0; row < row_count; row++) {
        const float *x = call->x + (first_row + row) * call->inputs + begin;
        if (count == lanes) {
            for (int lane = 0; lane < lanes; lane++) sums[row][lane] += x[lane] * block[lane];
        } else {
            for (size_t lane = 0; lane < count; lane++) sums[row][lane] += x[lane] * block[lane];
        }
    }
}

static void rows(const ctti_linear *call, size_t first, size_t end, bool wide) {
    for (size_t first_row = 0; first_row < call->rows; first_row += most_rows) {
        size_t row_count = call->rows - first_row < most_rows ? call->rows - first_row : most_rows;
        for (size_t output = first; output < end; output++) {
            float sums[most_rows][lanes] = {{0}};
            for (size_t begin = 0; begin < call->inputs; begin += lanes) {
                size_t count = call->inputs - begin < lanes ? call->inputs - begin : lanes;
                size_t place = output * call->inputs + begin;
                float block[lanes];
                if (wide) {
                    const float *weight = (const float *)call->weight + place;
                    for (size_t lane = 0; lane < count; lane++) block[lane] = weight[lane];
                } else {
                    const uint16_t *weight = (const uint16_t *)call->weight + place;
                    for (size_t lane = 0; lane < count; lane++) block[lane] = widen(weight[lane]);
                }
                add_block(call, first_row, row_count, block, begin, count, sums);
            }
            for (size_t row = 0; row < row_count; row++) {
                finish_one(call, first_row + row, output, sum_lanes(sums[row]));
            }
        }
    }
}

static void rows_float32(const ctti_linear *call, size_t first, size_t end) { rows(call, first, end, true); }

static void rows_bfloat16(const ctti_linear *call, size_t first, size_t end) { rows(call, first, end, false); }

static void finish(const ctti_linear *call, size_t first_row, size_t end_row, size_t first, size_t end) {
    for (size_t row = first_row; row < end_row; row++) {
        float *y = call->y + row * call->outputs;
        const float *residual = call->residual ? call->residual + row * call->outputs : NULL;
        if (call->bias) {
            for (size_t i = first; i < end; i++) y[i] += call->bias[i];
        }
        switch (call->activation) {
        case CTTI_RELU:
            for (size_t i = first; i < end; i++) y[i] = y[i] < 0 ? 0 : y[i];
            break;
        case CTTI_GELU:
            for (size_t i = first; i < end; i++) y[i] = ctti_gelu(y[i]);
            break;
        case CTTI_GELU_TANH:
            for (size_t i = first; i < end; i++) y[i] = ctti_gelu_tanh(y[i]);
            break;
        case CTTI_QUICK_GELU:
            for (size_t i = first; i < end; i++) y[i] = ctti_quick_gelu(y[i]);
            break;
        case CTTI_SILU:
            for (size_t i = first; i < end; i++) y[i] = ctti_silu(y[i]);
            break;
        default: break;
        }
        if (residual) {
            for (size_t i = first; i < end; i++) y[i] += residual[i];
        }
    }
}

const ctti_linear_kernels ctti_linear_portable = {rows_float32, rows_bfloat16, finish};
