// The kernels of hopper_products.cuh for bfloat16.
#include "hopper_products.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900
HOPPER_KERNELS(hopper_128x, bfloat16)
#endif
