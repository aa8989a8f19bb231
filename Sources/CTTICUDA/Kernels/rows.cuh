// Rows that a warp, or the warps of a block, hold in registers: sums and largest numbers over a row, and rows of 8-bit integers.
#pragma once
#include "device.cuh"

// A sum as a tree: the order depends on the count alone.
template <int count> INLINE float sum_of(const float *x) {
    if constexpr (count == 1) return x[0];
    else return sum_of<count / 2>(x) + sum_of<count - count / 2>(x + count / 2);
}

// The sum over the warps that share a row; all get it. `parts` is of one sum only: there is one barrier.
template <int warps> INLINE float team_sum(float x, float *parts) {
    x = warp_sum(x);
    if constexpr (warps > 1) {
        if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
        __syncthreads();
        x = sum_of<warps>(parts);
    }
    return x;
}

// The largest over the warps that share a row; the same.
template <int warps> INLINE uint32_t team_max(uint32_t x, uint32_t *parts) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) x = max(x, __shfl_xor_sync(ALL_LANES, x, offset));
    if constexpr (warps > 1) {
        if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
        __syncthreads();
        for (int i = 0; i < warps; i++) x = max(x, parts[i]);
    }
    return x;
}

#ifdef TTI_BF16
struct __align__(8) bytes8 {
    uint32_t word[2];
};

// The largest magnitude of a vector, as bits: magnitudes are in the order of these, and what is not finite comes last.
INLINE uint32_t largest_bits(const bytes16 &x) {
    uint32_t largest = 0;
    for (int i = 0; i < 4; i++) largest = max(largest, max(x.word[i] << 16 & 0x7fffffffu, x.word[i] & 0x7fff0000u));
    return largest;
}

// What a row's integers stand for: 127 for its largest magnitude. A row with a number that is not finite becomes zeros of NaN.
struct row_unit {
    float size, inverse;
    bool is_finite;

    INLINE_MEMBER explicit row_unit(uint32_t largest_bits) {
        float largest = as_float(largest_bits);
        is_finite = largest_bits < 0x7f800000u;
        size = is_finite ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
        inverse = is_finite && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
    }

    INLINE_MEMBER bytes8 integers(const bytes16 &x) const {
        floats<LANES> v = unpack(x);
        bytes8 y = {{0, 0}};
        for (int i = 0; i < LANES; i++) {
            int q = is_finite ? __float2int_rn(__fmul_rn(v[i], inverse)) : 0;
            y.word[i / 4] |= (uint32_t)(q & 0xff) << (8 * (i % 4));
        }
        return y;
    }
};

// A row as integers: `vectors` of a thread, `step` columns apart from `column` on, zeros past the row's end.
template <int vectors, int warps>
INLINE void store_integers(
    const bytes16 (&x)[vectors], uint32_t *parts, int8_t *y, float *unit_size, int column, int step, int stride) {
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < vectors; i++) largest = max(largest, largest_bits(x[i]));
    row_unit unit(team_max<warps>(largest, parts));
    if (column == 0) *unit_size = unit.size;
#pragma unroll
    for (int i = 0; i < vectors; i++, column += step) {
        if (column < stride) *(bytes8 *)(y + column) = unit.integers(x[i]);
    }
}
#endif
