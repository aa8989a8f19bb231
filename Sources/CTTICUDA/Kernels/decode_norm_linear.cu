// Products of few rows with a norm: weights of bfloat16.
#include "decode_linear.cuh"

#ifdef TTI_BF16
DECODE_LINEARS(decode_norm_linear_bfloat16, of_bfloat16, 16, 8, 4, true)
DECODE_LINEARS_OF_ROWS(decode_norm_linear_bfloat16, of_bfloat16, 4)
#endif
