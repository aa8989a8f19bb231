// The kernels of hopper_products.cuh for 8-bit integers, whose rows and columns have scales of their own.
#include "hopper_products.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900
HOPPER_KERNELS(hopper_int8_128x, int8_t)
#endif
