// Products of few rows: weights of int8.
#ifdef TTI_BF16
#include "decode_linear.cuh"

// tiles, blocks under way, chains, with a norm, in shared memory, sets of rows
DECODE_LINEAR(decode_linear_int8_1, of_int8, 1, 8, 2, false, true, 1)
DECODE_LINEAR(decode_linear_int8_2, of_int8, 2, 4, 1, false, true, 1)
DECODE_LINEAR(decode_linear_int8_3, of_int8, 3, 4, 1, false, true, 1)
DECODE_LINEAR(decode_linear_int8_4, of_int8, 4, 4, 1, false, true, 1)
DECODE_LINEAR(decode_linear_int8_8, of_int8, 8, 2, 1, false, true, 1)
DECODE_LINEAR(decode_linear_int8_1_short, of_int8, 1, 2, 2, false, false, 1)
DECODE_LINEAR(decode_linear_int8_3_short, of_int8, 3, 2, 1, false, false, 1)
DECODE_LINEAR(decode_linear_int8_4_short, of_int8, 4, 2, 1, false, false, 1)
#else
#include "device.cuh"
#endif
