// Gathering and depthwise convolution in plain C. Bound: bytes of the image (gathering: of the patches, which stay in the
// cache of the core that multiplies them).
#include <string.h>

#include "CTTIKernels.h"

void ctti_gather_patches(const ctti_patches *call, size_t first, size_t end, float *patches) {
    ptrdiff_t height = (ptrdiff_t)(call->height * call->upsampling);
    ptrdiff_t width = (ptrdiff_t)(call->width * call->upsampling);
    size_t channels = call->channels, bytes = channels * sizeof(float);
    bool whole_rows = call->upsampling == 1;
    for (size_t pixel = first; pixel < end; pixel++) {
        ptrdiff_t y0 = (ptrdiff_t)(pixel / call->output_width * call->stride) - (ptrdiff_t)call->top;
        ptrdiff_t x0 = (ptrdiff_t)(pixel % call->output_width * call->stride) - (ptrdiff_t)call->left;
        ptrdiff_t kernel_width = (ptrdiff_t)call->kernel_width;
        for (ptrdiff_t ky = 0; ky < (ptrdiff_t)call->kernel_height; ky++) {
            ptrdiff_t y = y0 + ky;
            if (y < 0 || y >= height) {
                memset(patches, 0, call->kernel_width * bytes);
                patches += call->kernel_width * channels;
                continue;
            }
            const float *row = call->image + (size_t)y / call->upsampling * call->width * channels;
            if (whole_rows && x0 >= 0 && x0 + kernel_width <= width) {
                memcpy(patches, row + (size_t)x0 * channels, call->kernel_width * bytes);
                patches += call->kernel_width * channels;
                continue;
            }
            for (ptrdiff_t kx = 0; kx < kernel_width; kx++) {
                ptrdiff_t x = x0 + kx;
                if (x < 0 || x >= width) {
                    memset(patches, 0, bytes);
                } else {
                    memcpy(patches, row + (size_t)x / call->upsampling * channels, bytes);
                }
                patches += channels;
            }
        }
    }
}

static void depthwise(const ctti_depthwise *call, size_t first_row, size_t end_row) {
    size_t channels = call->channels;
    ptrdiff_t height = (ptrdiff_t)call->height, width = (ptrdiff_t)call->width;
    ptrdiff_t top = (ptrdiff_t)call->kernel_height / 2, left = (ptrdiff_t)call->kernel_width / 2;
    for (ptrdiff_t y = (ptrdiff_t)first_row; y < (ptrdiff_t)end_row; y++) {
        for (ptrdiff_t x = 0; x < width; x++) {
            float *target = call->y + (size_t)(y * width + x) * channels;
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

static const ctti_convolution_kernels portable = {depthwise};

const ctti_convolution_kernels *ctti_convolution_kernels_for(ctti_isa isa) {
    (void)isa;
    return &portable;
}
