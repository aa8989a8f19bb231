// Depthwise convolution. Bound: bytes of the image (a row is read for every row of the kernel, from the cache). Loops: rows,
// pixels, taps, channels.
#include <string.h>

#include "CTTIKernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void convolve_rows(const ctti_depthwise *call, size_t first_row, size_t end_row) {
    size_t channels = call->channels;
    ptrdiff_t height = (ptrdiff_t)call->height, width = (ptrdiff_t)call->width;
    ptrdiff_t top = (ptrdiff_t)call->kernel_height / 2, left = (ptrdiff_t)call->kernel_width / 2;
    for (ptrdiff_t y = (ptrdiff_t)first_row; y < (ptrdiff_t)end_row; y++) {
        for (ptrdiff_t x = 0; x < width; x++) {
            float *restrict target = call->y + (size_t)(y * width + x) * channels;
            memset(target, 0, channels * sizeof(float));
            for (ptrdiff_t ky = 0; ky < (ptrdiff_t)call->kernel_height; ky++) {
                ptrdiff_t source_y = y + ky - top;
                if (source_y < 0 || source_y >= height) continue;
                for (ptrdiff_t kx = 0; kx < (ptrdiff_t)call->kernel_width; kx++) {
                    ptrdiff_t source_x = x + kx - left;
                    if (source_x < 0 || source_x >= width) continue;
                    const float *source = call->image + (size_t)(source_y * width + source_x) * channels;
                    const float *weight = call->weight + (size_t)(ky * (ptrdiff_t)call->kernel_width + kx) * channels;
                    for (size_t channel = 0; channel < channels; channel++) {
                        target[channel] += source[channel] * weight[channel];
                    }
                }
            }
        }
    }
}

void ctti_convolve_depthwise(ctti_isa isa, const ctti_depthwise *call, size_t first_row, size_t end_row) {
    (void)isa;
    convolve_rows(call, first_row, end_row);
}
