// The kernels of hopper_products.cuh for 8-bit integers, whose rows and columns have scales of their own.
#include "hopper_products.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900

// `blocks` blocks are to be on a multiprocessor.
#define HOPPER(columns, stages, blocks)                                                         \
    KERNEL_RESIDENT(hopper_int8_128x##columns##x##stages, tti_hopper, 2 * 128 + WARP, blocks) { \
        SHARED_BOXES(shared);                                                                  \
        multiply_on_hopper<hopper_tile<columns, stages, int8_t>>(p, shared);                   \
    }

HOPPER(64, 8, 1)
HOPPER(96, 7, 1)
HOPPER(128, 3, 2)
HOPPER(128, 6, 1)
HOPPER(160, 5, 1)
HOPPER(192, 5, 1)
HOPPER(256, 4, 1)

#endif
