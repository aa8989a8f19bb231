// Products of few rows with a norm: weights of bfloat16.
#ifdef TTI_BF16
#include "decode_linear.cuh"

// tiles, blocks under way, chains, with a norm, in shared memory, sets of rows
DECODE_LINEAR(decode_norm_linear_bfloat16_1, of_bfloat16, 1, 16, 2, true, true, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_2, of_bfloat16, 2, 8, 1, true, true, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_3, of_bfloat16, 3, 4, 1, true, true, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_4, of_bfloat16, 4, 4, 1, true, true, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_8, of_bfloat16, 8, 2, 1, true, true, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_1_short, of_bfloat16, 1, 4, 2, true, false, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_3_short, of_bfloat16, 3, 4, 1, true, false, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_4_short, of_bfloat16, 4, 4, 1, true, false, 1)
DECODE_LINEAR(decode_norm_linear_bfloat16_1_rows, of_bfloat16, 1, 4, 2, true, true, 3)
DECODE_LINEAR(decode_norm_linear_bfloat16_2_rows, of_bfloat16, 2, 4, 1, true, true, 3)
#else
#include "device.cuh"
#endif
