// Products of few rows: weights of int8.
#include "decode_linear.cuh"

#ifdef TTI_BF16
DECODE_LINEARS(decode_linear_int8, of_int8, 8, 4, 2, false)
// A share of up to 2048 inputs in registers.
DECODE_LINEAR(decode_linear_int8_1_short4, of_int8, 1, 4, 2, false, false, 1)
#endif
