// Rows of x on their way from memory to the shared memory of a product of few rows (decode_linear.cu): normalised and
// quantised in registers. Every thread has vectors of 16 bytes of its own, from the first load to the last store.
#pragma once

#include "decode_linear.cuh"

// When the next kernel is brought in: 0 when inputs may be read, 1 when they lie in shared memory, 2 when the last weights
// have been asked for; with a norm also 3 when a warp has its pieces of the statistics, 4 when all have.
#ifndef TTI_TRIGGER
#define TTI_TRIGGER 0
#endif
#ifndef TTI_NORM_TRIGGER
#define TTI_NORM_TRIGGER 4
#endif

// Vectors of a thread that stay in registers; where there are more, they wait in shared memory.
#define MOST_HELD 2
// Elements of a row that a warp has side by side.
#define PIECE (WARP * LANES)
// Pieces of all rows of a block: what fits its shared memory has fewer.
#define MOST_PIECES 160

// Mean, and sum of squared distances from it, of some elements; of a root mean square the mean is 0.
struct row_piece {
    float mean, squares;
};

// Rows one after the other, of a multiple of PIECE elements: vector i of a thread is number i · THREADS + thread of all, so
// that the vectors of a warp lie in one row.
struct row_vectors {
    // Of all rows, and of one.
    int total, width;
    // 65536 / pieces of a row, rounded up
    uint32_t factor;

    INLINE_MEMBER row_vectors(const tti_decode_linear &p, int rows)
        : total(rows * p.inputs / LANES), width(p.inputs / LANES), factor(p.row_factor) {}
    static INLINE_MEMBER int index(int i) { return i * THREADS + threadIdx.x; }
    static INLINE_MEMBER int piece(int i) { return i * WARPS + threadIdx.x / WARP; }
    INLINE_MEMBER bool has(int i) const { return index(i) < total; }
    INLINE_MEMBER int row(int i) const { return (int)(piece(i) * factor >> 16); }
    // The vector's place in its row.
    INLINE_MEMBER int place(int i) const { return index(i) - row(i) * width; }
};

// Statistics of `count` pieces of a thread's warp, each of `of_row` neighbouring vectors; the sums go up in an order that
// depends on nothing else.
template <int count, int of_row, int trigger>
INLINE void find_pieces(const tti_decode_linear &p, const bytes16 *x, row_piece *pieces, int first) {
    row_piece own[count];
#pragma unroll
    for (int s = 0; s < count; s++) {
        float sum = 0, squares = 0;
#pragma unroll
        for (int u = 0; u < of_row; u++) sum += sum_of(unpack(x[s * of_row + u]));
        own[s].mean = p.norm == TTI_LAYER_NORM ? sum * (1.0f / (of_row * LANES)) : 0.0f;
#pragma unroll
        for (int u = 0; u < of_row; u++) {
            floats<LANES> v = unpack(x[s * of_row + u]);
            for (int j = 0; j < LANES; j++) {
                float d = v[j] - own[s].mean;
                v[j] = d * d;
            }
            squares += sum_of(v);
        }
        own[s].squares = squares;
    }
    // Two lots of as many elements, added (Chan et al.).
    float half_count = of_row * LANES / 2;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2, half_count *= 2) {
#pragma unroll
        for (int s = 0; s < count; s++) {
            float mean = __shfl_xor_sync(ALL_LANES, own[s].mean, offset);
            float squares = __shfl_xor_sync(ALL_LANES, own[s].squares, offset), d = mean - own[s].mean;
            own[s].squares = fmaf(d * d, half_count, own[s].squares + squares);
            own[s].mean = 0.5f * (own[s].mean + mean);
        }
    }
    if (trigger == 3) let_next_begin();
    if (threadIdx.x % WARP == 0) {
#pragma unroll
        for (int s = 0; s < count; s++) pieces[row_vectors::piece(first + s)] = own[s];
    }
}

// What normalises a row.
struct row_scale {
    float mean, inverse;

    // From its pieces, of `of_row` vectors a lane.
    INLINE_MEMBER row_scale(const tti_decode_linear &p, const row_piece *pieces, int of_row) {
        int count = p.inputs / (PIECE * of_row);
        float share = p.share * (PIECE * of_row), size = PIECE * of_row;
        // Distances of the pieces' means from that of the first.
        float first = pieces[0].mean, sum = 0, between = 0, within = 0;
#pragma unroll 1
        for (int base = 0; base < count; base += 4) {
            // Those past the end are in shared memory, too, and add nothing.
            row_piece own[4];
#pragma unroll
            for (int j = 0; j < 4; j++) own[j] = pieces[base + j];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                bool is_one = base + j < count;
                float d = is_one ? own[j].mean - first : 0.0f;
                sum += d;
                between = fmaf(d, d, between);
                within += is_one ? own[j].squares : 0.0f;
            }
        }
        mean = fmaf(sum, share, first);
        between = fmaxf(fmaf(-sum * share, sum, between), 0.0f);
        inverse = rsqrtf(fmaf(between, size, within) * p.share + p.epsilon);
    }
    INLINE_MEMBER bytes16 apply(const bytes16 &x, staged_norm norm, int place) const {
        floats<LANES> v = norm.apply(unpack(x), place * LANES, mean, inverse);
        bytes16 y;
        for (int j = 0; j < 4; j++) y.word[j] = pack_bfloat16(v[2 * j], v[2 * j + 1]);
        return y;
    }
};

// Rows in registers (`is_held`), at most `most` vectors a thread, or in shared memory, where they come as they are.
template <int most, bool is_held> struct rows_on_the_way {
    row_vectors at;
    bytes16 held[is_held ? most : 1];
    char *shared;
    // Vectors of this thread, or more.
    int count;

    INLINE_MEMBER rows_on_the_way(const tti_decode_linear &p, const element *source, int rows, char *shared)
        : at(p, rows), shared(shared), count(is_held ? most : (at.total + THREADS - 1) / THREADS) {
        if constexpr (is_held) {
#pragma unroll
            for (int i = 0; i < most; i++) {
                held[i] = bytes16{{0, 0, 0, 0}};
                if (at.has(i)) held[i] = load_vector_written(source + i * THREADS * LANES);
            }
        } else {
            for (int i = 0; i < count; i++) {
                if (at.has(i)) copy_async(place(i), source + i * THREADS * LANES);
            }
            copy_commit();
        }
    }
    INLINE_MEMBER char *place(int i) const { return shared + at.index(i) * 16 + at.row(i) * 64; }
    INLINE_MEMBER bytes16 get(int i) const {
        if constexpr (is_held) return held[i];
        return *(const bytes16 *)place(i);
    }
    INLINE_MEMBER void set(int i, const bytes16 &x) {
        if constexpr (is_held) {
            held[i] = x;
        } else {
            *(bytes16 *)place(i) = x;
        }
    }
    // body(i) for all vectors of the thread.
    template <class Body> INLINE_MEMBER void each(Body body) {
        if constexpr (is_held) {
#pragma unroll
            for (int i = 0; i < most; i++) {
                if (at.has(i)) body(i);
            }
        } else {
#pragma unroll 1
            for (int i = 0; i < count; i++) {
                if (at.has(i)) body(i);
            }
        }
    }

    // All threads; with one barrier, before which each thread's part of the norm is in shared memory.
    template <int of_row>
    INLINE_MEMBER void normalise(const tti_decode_linear &p, staged_norm norm, row_piece *pieces) {
        if constexpr (is_held) {
            find_pieces<most / of_row, of_row, TTI_NORM_TRIGGER>(p, held, pieces, 0);
        } else {
#pragma unroll 1
            for (int s = 0; s * of_row < count; s++) {
                bytes16 x[of_row];
#pragma unroll
                for (int u = 0; u < of_row; u++) x[u] = at.has(s * of_row) ? get(s * of_row + u) : bytes16{{0, 0, 0, 0}};
                find_pieces<1, of_row, 0>(p, x, pieces, s);
            }
            if (TTI_NORM_TRIGGER == 3) let_next_begin();
        }
        __syncthreads();
        if (TTI_NORM_TRIGGER == 4) let_next_begin();
        int pieces_of_row = p.inputs / (PIECE * of_row);
        each([&](int i) {
            row_scale scale(p, pieces + at.row(i) * pieces_of_row, of_row);
            set(i, scale.apply(get(i), norm, at.place(i)));
        });
    }

    // As they are multiplied: with `is_short` in the order of words of `multiply`. All threads, to be followed by a barrier.
    INLINE_MEMBER void put(bool is_short) {
        each([&](int i) {
            bytes16 x = get(i), y = x;
            if (is_short) {
                y.word[1] = x.word[2];
                y.word[2] = x.word[1];
            }
            *(bytes16 *)place(i) = y;
        });
    }

    // The same as int8, each row with a scale of its own: 127 is its largest magnitude. With one barrier.
    INLINE_MEMBER void put_int8(char *target, bool is_short, float *scales, uint32_t *magnitudes) {
        int lane = threadIdx.x % WARP;
        // Magnitudes are ordered like their bits, infinity above all numbers and NaN above that.
        const uint32_t infinity = 0x7f800000u, magnitude = 0x7fff0000u;
        each([&](int i) {
            bytes16 x = get(i);
            uint32_t largest = 0;
            for (int j = 0; j < 4; j++) {
                largest = max(largest, max(x.word[j] & magnitude, x.word[j] << 16 & magnitude));
            }
            largest = __reduce_max_sync(ALL_LANES, largest);
            if (lane == 0) magnitudes[at.piece(i)] = largest;
        });
        __syncthreads();
        int pieces = at.width / WARP;
        each([&](int i) {
            int row = at.row(i), own = at.place(i);
            uint32_t bits = 0;
            for (int j = lane; j < pieces; j += WARP) bits = max(bits, magnitudes[row * pieces + j]);
            bits = __reduce_max_sync(ALL_LANES, bits);
            float largest = as_float(bits);
            float inverse = bits < infinity && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
            if (own == 0) scales[row] = bits < infinity ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
            floats<LANES> v = unpack(get(i));
            uint32_t q[LANES];
            // Rounded to nearest by a number whose last place is 1; what is below 2^8 is two's complement then.
            for (int j = 0; j < LANES; j++) q[j] = as_bits(__fadd_rn(__fmul_rn(v[j], inverse), 12582912.0f));
            uint32_t *words = (uint32_t *)(target + row * (at.width * LANES + 64) + own / 2 * 16);
            int half = own % 2;
            words[is_short ? half : half * 2] = low_bytes(q);
            words[is_short ? half + 2 : half * 2 + 1] = low_bytes(q + 4);
        });
    }

    // The lowest bytes of four words.
    static INLINE_MEMBER uint32_t low_bytes(const uint32_t *words) {
        return __byte_perm(__byte_perm(words[0], words[1], 0x0040), __byte_perm(words[2], words[3], 0x0040), 0x5410);
    }
};

// The rows of a group, normalised, given to `put`; `source` is the first vector of this thread. `meanwhile` is done when they are asked for. All threads, with a barrier
// at the end.
template <bool is_normed, class Meanwhile, class Put>
INLINE void bring_rows(const tti_decode_linear &p, const element *source, int rows, char *shared, staged_norm norm,
                       Meanwhile meanwhile, Put put) {
    __shared__ row_piece pieces[is_normed ? MOST_PIECES + 3 : 1];
    auto bring = [&](auto way, auto of_row) {
        meanwhile();
        copy_wait<0>();
        if constexpr (is_normed) way.template normalise<sizeof(of_row)>(p, norm, pieces);
        put(way);
    };
    struct two { char of[2]; };
    int total = rows * p.inputs;
    if (is_normed && p.inputs == 2 * THREADS * LANES) {
        // Two vectors of a thread lie in one row.
        bring(rows_on_the_way<0, false>(p, source, rows, shared), two());
    } else if (total <= THREADS * LANES) {
        bring(rows_on_the_way<1, true>(p, source, rows, shared), char());
    } else if (total <= 2 * THREADS * LANES) {
        bring(rows_on_the_way<2, true>(p, source, rows, shared), char());
    } else {
        bring(rows_on_the_way<0, false>(p, source, rows, shared), char());
    }
    __syncthreads();
}
