// What goes over the border between Swift and the kernels: one structure a kernel, in plain C, so that both sides read the
// same file. Addresses are of device memory.
#pragma once

#ifndef __CUDACC_RTC__
#include <stdint.h>
#endif

typedef uint64_t device_address;

// MARK: elementwise.cu

// y = x + other, where other's `period` elements repeat.
typedef struct tti_add {
    device_address y, x, other;
    int64_t count, period;
} tti_add;

typedef struct tti_activate {
    device_address y, x;
    int64_t count;
    int32_t activation;
} tti_activate;

// y [rows, width] = value · activation(gate) of the halves of x [rows, 2 · width].
typedef struct tti_gate {
    device_address y, x;
    int64_t rows, width;
    int32_t activation, gate_first;
} tti_gate;

// y = x · (1 + scale) + shift; `rows_of_entry` rows of x share a row of modulation [2 · width].
typedef struct tti_modulate {
    device_address y, x, modulation;
    int64_t rows, width, rows_of_entry;
} tti_modulate;

// y row by row: `bytes` of each row of x, at `offset` in rows of `stride` bytes.
typedef struct tti_join {
    device_address y, x;
    int64_t rows, bytes, offset, stride;
} tti_join;

// y [entries, count, width] = rows of x [batch, tokens, width]; -1 gives zeros.
typedef struct tti_gather {
    device_address y, x, indices;
    int64_t entries, count, width, batch, tokens;
} tti_gather;

// y [count, width] = rows of table; in the type of activations.
typedef struct tti_embed {
    device_address y, ids, table;
    int64_t count, width;
} tti_embed;

// y [batch, 2 · height, 2 · width, channels] of x [batch, height, width, 4 · channels].
typedef struct tti_depth_to_space {
    device_address y, x;
    int64_t rows, width, channels;
} tti_depth_to_space;

typedef struct tti_increment {
    device_address counter;
    int64_t count;
} tti_increment;

typedef struct tti_copy {
    device_address y, x;
    int64_t bytes;
} tti_copy;

// y [rows, y_stride] = x [rows, width] in another type, rows filled up with zeros.
typedef struct tti_convert {
    device_address y, x;
    int64_t rows, width, y_stride;
    // tti_type
    int32_t from, to;
} tti_convert;

enum tti_type { TTI_FLOAT32, TTI_FLOAT16, TTI_BFLOAT16 };
