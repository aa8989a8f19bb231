// Products of few rows: weights of bfloat16.
#ifdef TTI_BF16
#include "decode_linear.cuh"

// tiles, blocks under way, chains, with a norm, in shared memory, sets of rows
DECODE_LINEAR(decode_linear_bfloat16_1, of_bfloat16, 1, 16, 2, false, true, 1)
DECODE_LINEAR(decode_linear_bfloat16_2, of_bfloat16, 2, 8, 1, false, true, 1)
DECODE_LINEAR(decode_linear_bfloat16_3, of_bfloat16, 3, 4, 1, false, true, 1)
DECODE_LINEAR(decode_linear_bfloat16_4, of_bfloat16, 4, 4, 1, false, true, 1)
DECODE_LINEAR(decode_linear_bfloat16_8, of_bfloat16, 8, 2, 1, false, true, 1)
DECODE_LINEAR(decode_linear_bfloat16_1_short, of_bfloat16, 1, 4, 2, false, false, 1)
DECODE_LINEAR(decode_linear_bfloat16_3_short, of_bfloat16, 3, 4, 1, false, false, 1)
DECODE_LINEAR(decode_linear_bfloat16_4_short, of_bfloat16, 4, 4, 1, false, false, 1)
#else
#include "device.cuh"
#endif
