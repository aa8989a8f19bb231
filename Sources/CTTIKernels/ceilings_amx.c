#if defined(__x86_64__)

#include "amx_tiles.h"
#include "ceilings_tables.h"

// Four sums and four operands, all in tiles.
CTTI_AMX_TARGET double ctti_multiply_adds_amx(bool int8, size_t rounds) {
    _Alignas(64) uint8_t operand[1024];
    // As bfloat16: 1.5; as int8: 63 and -64.
    for (size_t i = 0; i < sizeof operand; i++) operand[i] = i % 2 ? 0x3f : 0xc0;
    ctti_tiles_begin();
    __asm__ volatile("" : : "r"(operand) : "memory");
    _tile_loadd(4, operand, 64);
    _tile_loadd(5, operand, 64);
    _tile_loadd(6, operand, 64);
    _tile_loadd(7, operand, 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t round = 0; round < rounds; round++) {
        if (int8) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        } else {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    ctti_tiles_end();
    return 4.0 * 2 * 16 * 16 * (int8 ? 64 : 32) * (double)rounds;
}

#endif
