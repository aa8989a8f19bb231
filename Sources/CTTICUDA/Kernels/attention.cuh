// What kernels of attention share: masks, and rows on their way to shared memory.
#pragma once

#include "device.cuh"

#define LOG2_E 1.4426950408889634f

INLINE float minus_infinity() { return as_float(0xff800000u); }
// What exponents are taken relative to: the largest score, or 0 where every key is masked.
INLINE float finite_base(float most) { return most == minus_infinity() ? 0.0f : most; }

// The masks of one head, for scores that are exponents of two.
struct masks {
    const float *key_bias, *score_bias;
    int keys, causal, columns, reach;
    // 1 / columns
    float part;

    // place / columns, for places below a million.
    INLINE_MEMBER int row(int place) const { return (int)((place + 0.5f) * part); }

    INLINE_MEMBER float masked(float score, int query, int key) const {
        if (key >= keys || (causal && key > query)) return minus_infinity();
        if (columns > 0 && key != 0) {
            int down = row(query) - row(key), across = query - key - down * columns;
            if (abs(down) > reach || abs(across) > reach) return minus_infinity();
        }
        if (key_bias) score += key_bias[key] * LOG2_E;
        if (score_bias) score += score_bias[(int64_t)query * keys + key] * LOG2_E;
        return score;
    }
};

INLINE masks find_masks(
    device_address key_bias, device_address score_bias, int key_entry, int bias_head, int queries, int keys, int causal,
    int columns, int reach) {
    masks m = {nullptr, nullptr, keys, causal, columns, reach, columns > 0 ? 1.0f / columns : 0.0f};
    if (key_bias) m.key_bias = pointer<const float>(key_bias) + (int64_t)key_entry * keys;
    if (score_bias) m.score_bias = pointer<const float>(score_bias) + (int64_t)bias_head * queries * keys;
    return m;
}

#ifdef TTI_BF16

// `rows` × `width` elements into shared memory, in rows 16 bytes longer, so that eight rows of a matrix lie in different
// banks: `count` rows and `columns` columns, then zeros. `aligned`: all rows are multiples of 16 bytes at such addresses.
template <int rows, int width, int threads> INLINE void stage(
    element *target, const element *source, int64_t stride, int count, int columns, bool aligned) {
    if (aligned) {
        const int pieces = width / 8;
        if constexpr (threads % pieces == 0 && rows % (threads / pieces) == 0) {
            // A thread has a column, and rows at the same distance.
            const int step = threads / pieces;
            int row = threadIdx.x / pieces, column = threadIdx.x % pieces * 8;
            target += row * (width + 8) + column;
            const element *address = source + row * stride + column;
            if (count >= rows && columns == width) {
#pragma unroll
                for (int i = 0; i < rows; i += step) {
                    copy_async(target + i * (width + 8), address);
                    address += step * stride;
                }
                return;
            }
            if (column >= columns) count = 0;
#pragma unroll
            for (int i = 0; i < rows; i += step) {
                bool is_inside = row + i < count;
                copy_async(target + i * (width + 8), is_inside ? address : source, is_inside);
                address += step * stride;
            }
        } else {
            for (int i = threadIdx.x; i < rows * pieces; i += threads) {
                int row = i / pieces, column = i % pieces * 8;
                bool is_inside = row < count && column < columns;
                copy_async(
                    target + row * (width + 8) + column, is_inside ? source + row * stride + column : source,
                    is_inside);
            }
        }
    } else {
        for (int i = threadIdx.x; i < rows * width; i += threads) {
            int row = i / width, column = i % width;
            bool is_inside = row < count && column < columns;
            target[row * (width + 8) + column] = is_inside ? source[row * stride + column] : element{0};
        }
    }
}

#endif
