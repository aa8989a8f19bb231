// What kernels on AMX share: all eight tiles are 16 rows of 64 bytes.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define CTTI_AMX_TARGET                                                                                       \
    __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,fma," \
                          "prfchw")))
#define CTTI_AMX_INLINE static inline CTTI_AMX_TARGET __attribute__((always_inline))

// Before the first tile of a call; ctti_tiles_end() after the last one, so that nobody saves eight kilobytes for nothing.
CTTI_AMX_INLINE void ctti_tiles_begin(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        shape.bytes[tile] = 64;
        shape.rows[tile] = 16;
    }
    // The compiler does not know that all of it is read.
    __asm__ volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
}

CTTI_AMX_INLINE void ctti_tiles_end(void) { _tile_release(); }
