// Weights of int8 in panels (weights.cu), as decoding multiplies them.
//
// A bfloat16 whose exponent's bits are zero is its seven lowest bits times 2⁻¹³³, and the tensor cores multiply those, too. So a
// weight is its sign and its magnitude where a bfloat16 has them, and one mask makes two of them out of half a word: of four
// weights the first pair has the lower seven bits of each half and the sign at its top, the second pair the same of a word whose
// halves have their bytes exchanged.
//
//     bits of a half     15     14-8     7      6-0
//                        sign   |third|  sign   |first|            (the other half: fourth and second)
//                        of 1st          of 3rd
//
// What is multiplied with them is 2⁶⁴ times as much, so that products above 2⁻⁵⁷ are no small ones of float; sums are 2⁻⁶⁹ of what
// they stand for. All of these are powers of two: no bit is lost as long as inputs are below 2⁶³ and scales below 2⁵⁸.
#pragma once
#include "device.cuh"

#define PANEL_SIGNS 0x80808080u
// Two of bfloat16.
#define PANEL_INPUT_UNITS 0x5f805f80u
#define PANEL_INPUT_UNIT 18446744073709551616.0f
#define PANEL_SUM_UNIT 1.6940658945086007e-21f
#define SUMS_IN_PANEL_UNIT 590295810358705651712.0f

// The other way round for negative bytes, from -127 on.
INLINE uint32_t with_other_magnitudes(uint32_t bytes, uint32_t signs) {
    uint32_t ones = signs >> 7;
    return (bytes ^ ones * 0xffu) + ones;
}

INLINE uint32_t panel_of_bytes(uint32_t four) {
    uint32_t signs = four & PANEL_SIGNS, magnitudes = with_other_magnitudes(four, signs);
    return __byte_perm(magnitudes, 0, 0x3120) | __byte_perm(signs, 0, 0x1302);
}

INLINE uint32_t bytes_of_panel(uint32_t word) {
    uint32_t signs = __byte_perm(word & PANEL_SIGNS, 0, 0x2031), magnitudes = __byte_perm(word & ~PANEL_SIGNS, 0, 0x3120);
    return with_other_magnitudes(magnitudes, signs);
}

// The first or second two of a word's four, as bfloat16, 2⁻¹³³ of what they are.
INLINE uint32_t pair_of_panel(uint32_t word, int second) {
    return (second ? __byte_perm(word, 0, 0x2301) : word) & 0x807f807fu;
}
