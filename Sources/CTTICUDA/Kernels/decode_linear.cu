// Products of few rows: weights of bfloat16.
#include "decode_linear.cuh"

#ifdef TTI_BF16
DECODE_LINEARS(decode_linear_bfloat16, of_bfloat16, 16, 8, 4, false)
#endif
