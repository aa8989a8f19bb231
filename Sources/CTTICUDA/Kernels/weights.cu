// Weights as they come from a file, in the type and the rows or panels that they are multiplied in: once per tensor, at
// loading. A product that needs the other form has it made anew (`rows_of_panels`, `panels_of_rows`).
#include "panels.cuh"

#define THREADS 256

// Where an element of a matrix lies: in rows of `stride`, or in panels of eight rows, which have 64 bytes (`block` elements, a
// power of two) of each row in turns. So a warp that multiplies eight outputs reads 512 bytes at once, and then the next 512.
INLINE int64_t place_of(int64_t row, int64_t column, int64_t stride, int64_t block) {
    if (block == 0) return row * stride + column;
    int64_t in_block = column & (block - 1);
    return ((row >> 3) * stride + column - in_block) * 8 + (row & 7) * block + in_block;
}

INLINE float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0x1f) return as_float(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)mantissa * 5.9604645e-8f;
    return as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

INLINE float number_at(device_address x, int64_t i, int type) {
    return type == TTI_FLOAT32    ? pointer<const float>(x)[i]
           : type == TTI_BFLOAT16 ? to_float(pointer<const bfloat16>(x)[i])
                                  : half_to_float(pointer<const uint16_t>(x)[i]);
}

INLINE void assign_number(device_address y, int64_t i, int type, float v) {
    if (type == TTI_FLOAT32) {
        pointer<float>(y)[i] = v;
    } else {
        pointer<bfloat16>(y)[i] = to_bfloat16(v);
    }
}

KERNEL(convert, tti_convert, THREADS) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * LANES;
    for (int64_t j = i; j < p.rows * p.y_stride && j < i + LANES; j++) {
        int64_t row = j / p.y_stride, column = j % p.y_stride, source = row * p.width + column;
        float v = column < p.width ? number_at(p.x, source, p.from) : 0.0f;
        assign_number(p.y, place_of(p.first_row + row, column, p.y_stride, p.block), p.to, v);
    }
}

KERNEL(rows_of_panels, tti_rows_of_panels, THREADS) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 16;
    if (i >= p.rows * p.stride) return;
    bytes16 v = *(const bytes16 *)(pointer<const char>(p.x) + place_of(i / p.stride, i % p.stride, p.stride, 64));
    for (int j = 0; j < 4 && p.is_int8; j++) v.word[j] = bytes_of_panel(v.word[j]);
    *(bytes16 *)(pointer<char>(p.y) + i) = v;
}

KERNEL(panels_of_rows, tti_rows_of_panels, THREADS) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 16;
    if (i >= p.rows * p.stride) return;
    bytes16 v = *(const bytes16 *)(pointer<const char>(p.x) + i);
    for (int j = 0; j < 4 && p.is_int8; j++) v.word[j] = panel_of_bytes(v.word[j]);
    *(bytes16 *)(pointer<char>(p.y) + place_of(i / p.stride, i % p.stride, p.stride, 64)) = v;
}

KERNEL(pack_kernel, tti_pack_kernel, THREADS) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * LANES;
    for (int64_t j = i; j < p.outputs * p.taps * p.y_channels && j < i + LANES; j++) {
        int64_t channel = j % p.y_channels, tap = j / p.y_channels % p.taps, output = j / p.y_channels / p.taps;
        int64_t source = (output * p.channels + channel) * p.taps + tap;
        assign_number(p.y, j, p.to, channel < p.channels ? number_at(p.x, source, p.from) : 0.0f);
    }
}

// A block a row: 127 stands for its largest magnitude. A row that has a number that is not finite becomes NaN.
KERNEL(quantise_weights, tti_quantise_weights, THREADS) {
    wait_for_inputs();
    int64_t row = p.first_row + blockIdx.x, first = (int64_t)blockIdx.x * p.width;
    float largest = 0, odd = 0;
    for (int64_t i = threadIdx.x; i < p.width; i += THREADS) {
        float v = fabsf(number_at(p.x, first + i, p.from));
        largest = fmaxf(largest, v);
        if (!(v < as_float(0x7f800000u))) odd = 1;
    }
    largest = block_max(largest);
    bool is_finite = block_max(odd) == 0;
    float inverse = is_finite && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
    if (threadIdx.x == 0) {
        pointer<float>(p.scales)[row] = is_finite ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
    }
    for (int64_t i = 4 * threadIdx.x; i < p.stride; i += 4 * THREADS) {
        uint32_t four = 0;
        for (int j = 0; j < 4; j++) {
            bool is_inside = i + j < p.width && is_finite;
            int q = is_inside ? __float2int_rn(__fmul_rn(number_at(p.x, first + i + j, p.from), inverse)) : 0;
            four |= (uint32_t)(q & 0xff) << 8 * j;
        }
        pointer<uint32_t>(p.y)[place_of(row, i, p.stride, p.block) / 4] = p.block ? panel_of_bytes(four) : four;
    }
}
