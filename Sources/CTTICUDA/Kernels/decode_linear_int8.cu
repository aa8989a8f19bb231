// Products of few rows: weights of int8.
#include "decode_linear.cuh"

#ifdef TTI_BF16
DECODE_LINEARS(decode_linear_int8, of_int8, 8, 4, 2, false)
#endif
