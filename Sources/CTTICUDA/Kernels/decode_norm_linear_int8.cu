// Products of few rows with a norm: weights of int8.
#include "decode_linear.cuh"

#ifdef TTI_BF16
DECODE_LINEARS(decode_norm_linear_int8, of_int8, 8, 4, 2, true)
DECODE_LINEARS_OF_ROWS(decode_norm_linear_int8, of_int8, 2)
// A share of up to 2048 inputs in registers.
DECODE_LINEAR(decode_norm_linear_int8_1_short4, of_int8, 1, 4, 2, true, false, 1)
#endif
