// Sixteen lanes of float, whatever the processor has: one register with AVX-512, two with AVX2, four with SSE or NEON.
//
// The bodies (`<family>_body.h`) are written once with these and compiled once for every instruction set, by a file that
// is named for it. Because the lanes are always sixteen, the order of every sum is the same everywhere; what differs is
// only whether a·b + c is rounded once or twice.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Vectors cross no call: every function that takes one is inlined.
#pragma clang diagnostic ignored "-Wpsabi"

#define LANES 16
// Before a loop whose count is known: arrays of vectors then live in registers.
#define UNROLL _Pragma("clang loop unroll(full)")
// Before a loop that stays one, so that the registers of one turn are enough.
#define ROLLED _Pragma("clang loop unroll(disable)")
#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));

INLINE vf load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf splat(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

// The first `count` lanes, zeros in the others.
INLINE vf load_some(const float *p, size_t count) {
    vf v = splat(0);
    memcpy(&v, p, count * sizeof(float));
    return v;
}
INLINE void store_some(float *p, vf v, size_t count) { memcpy(p, &v, count * sizeof(float)); }

INLINE vf load_bf16(const uint16_t *p) {
    vh v;
    memcpy(&v, p, sizeof v);
    return (vf)(__builtin_convertvector(v, vu) << 16);
}
INLINE vf load_some_bf16(const uint16_t *p, size_t count) {
    vh v = {0};
    memcpy(&v, p, count * sizeof(uint16_t));
    return (vf)(__builtin_convertvector(v, vu) << 16);
}

INLINE vf select_lanes(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
// As maxps: the second one when either is not a number.
INLINE vf larger(vf a, vf b) { return select_lanes(a > b, a, b); }
INLINE vf smaller(vf a, vf b) { return select_lanes(a < b, a, b); }

#define HALVE(name, op)                                                                                                \
    INLINE float name(vf v) {                                                                                          \
        v = op(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));                \
        v = op(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));                \
        v = op(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));                \
        v = op(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));                \
        return v[0];                                                                                                   \
    }
#define PLUS(a, b) ((a) + (b))
// All lanes together, always as the same tree.
HALVE(sum_lanes, PLUS)
HALVE(largest_lane, larger)
#undef PLUS
#undef HALVE

// Whether any lane of a comparison holds.
INLINE bool any_lane(vi mask) {
    uint64_t words[8];
    memcpy(words, &mask, sizeof words);
    return ((words[0] | words[1]) | (words[2] | words[3]) | (words[4] | words[5]) | (words[6] | words[7])) != 0;
}

// The sum of vector i in lane i, for sixteen vectors.
INLINE vf sum_each(vf v[LANES]) {
    UNROLL for (int i = 0; i < 8; i++) {
        v[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31)
            + __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        v[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31)
            + __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        v[i] = __builtin_shufflevector(v[i], v[i + 2], 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31)
            + __builtin_shufflevector(v[i], v[i + 2], 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29);
    }
    return __builtin_shufflevector(v[0], v[1], 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31)
        + __builtin_shufflevector(v[0], v[1], 1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30);
}

// The lanes of two vectors in turn: their lower halves, their upper halves.
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

// Lane j of vector i becomes lane i of vector j.
INLINE void transpose(vf v[LANES]) {
    UNROLL for (int round = 0; round < 4; round++) {
        vf w[LANES];
        UNROLL for (int i = 0; i < 8; i++) {
            w[2 * i] = ZIP_LOW(v[i], v[i + 8]);
            w[2 * i + 1] = ZIP_HIGH(v[i], v[i + 8]);
        }
        UNROLL for (int i = 0; i < LANES; i++) v[i] = w[i];
    }
}
