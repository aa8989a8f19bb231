// Convolution as products, without patches. In [height, width, channels] what an output pixel sees is one run of
// kernel_width · channels floats for each row of the kernel, and its right neighbour's runs begin stride · channels later:
// so a row of output pixels is a product with constant strides, straight from the image. Only padding and upsampling need
// a copy: of the few input rows that a block of output rows sees, bordered with zeros, small enough for the second-level
// cache.
//
// Bound: multiply-adds. On one core of a Zen 5 server, in CPU time, with AVX-512: 208 to 234 GFLOP/s (88 to 96 % of the
// multiply-adds in registers) for 3×3 kernels from 32 to 512 channels, images from 16×16 to 256×256, copies included; 33
// for three outputs, of which each is a lane of sixteen.
#include <string.h>

#include "CTTIKernels.h"

static bool is_in_place(const ctti_convolution *call) {
    return call->upsampling == 1 && call->top + call->left + call->bottom + call->right == 0;
}

static size_t bordered_width(const ctti_convolution *call) {
    return (call->output_width - 1) * call->stride + call->kernel_width;
}

// What products of rounded rows read past the copy: up to 16 pixels of the last row, and the rest of a run.
static size_t slack(const ctti_convolution *call) {
    return 16 * call->stride * call->channels + CTTI_TILE_INPUTS;
}

static size_t copied_elements(const ctti_convolution *call, size_t rows) {
    return ((rows - 1) * call->stride + call->kernel_height) * bordered_width(call) * call->channels;
}

size_t ctti_convolution_scratch(const ctti_convolution *call, size_t rows, bool rounded) {
    if (rounded) return (copied_elements(call, rows) + slack(call) + 1) / 2;
    return is_in_place(call) ? 0 : copied_elements(call, rows);
}

// Row `y` of the upsampled image, from column -left on.
static void copy_row(const ctti_convolution *call, ptrdiff_t y, float *target) {
    size_t channels = call->channels, factor = call->upsampling, width = bordered_width(call);
    if (y < 0 || y >= (ptrdiff_t)(call->height * factor)) {
        memset(target, 0, width * channels * sizeof(float));
        return;
    }
    const float *source = call->image + (size_t)y / factor * call->width * channels;
    size_t left = call->left < width ? call->left : width;
    size_t inside = call->width * factor < width - left ? call->width * factor : width - left;
    memset(target, 0, left * channels * sizeof(float));
    target += left * channels;
    if (factor == 1) {
        memcpy(target, source, inside * channels * sizeof(float));
    } else {
        for (size_t x = 0; x < inside; x++) {
            memcpy(target + x * channels, source + x / factor * channels, channels * sizeof(float));
        }
    }
    memset(target + inside * channels, 0, (width - left - inside) * channels * sizeof(float));
}

void ctti_convolve(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch) {
    ctti_product product = call->product;
    size_t width = call->width, pixels = call->output_width;
    const float *rows = call->image + first_row * call->stride * width * call->channels;
    if (!is_in_place(call)) {
        width = bordered_width(call);
        size_t count = (end_row - first_row - 1) * call->stride + call->kernel_height;
        ptrdiff_t y = (ptrdiff_t)(first_row * call->stride) - (ptrdiff_t)call->top;
        for (size_t row = 0; row < count; row++) {
            copy_row(call, y + (ptrdiff_t)row, scratch + row * width * call->channels);
        }
        rows = scratch;
    }
    product.row_stride = call->stride * call->channels;
    product.segments = call->kernel_height;
    product.segment_depth = call->kernel_width * call->channels;
    product.segment_stride = width * call->channels;
    product.rows = pixels;
    // A panel stays in the cache for all rows of the block.
    for (size_t panel = first; panel < end; panel++) {
        for (size_t row = first_row; row < end_row; row++) {
            size_t place = row * call->output_row_stride;
            product.x = rows + (row - first_row) * call->stride * width * call->channels;
            product.y = call->product.y + place;
            product.residual = call->product.residual ? call->product.residual + place : NULL;
            ctti_multiply(isa, &product, 0, pixels, panel, panel + 1);
        }
    }
}

// Row `y` of the upsampled image, from column -left on, as bfloat16.
static void round_row(const ctti_convolution *call, ptrdiff_t y, uint16_t *target) {
    size_t channels = call->channels, factor = call->upsampling, width = bordered_width(call);
    if (y < 0 || y >= (ptrdiff_t)(call->height * factor)) {
        memset(target, 0, width * channels * sizeof(uint16_t));
        return;
    }
    const float *source = call->image + (size_t)y / factor * call->width * channels;
    size_t left = call->left < width ? call->left : width;
    size_t inside = call->width * factor < width - left ? call->width * factor : width - left;
    memset(target, 0, left * channels * sizeof(uint16_t));
    target += left * channels;
    if (factor == 1) {
        ctti_round_rows(target, 0, source, 0, 1, inside * channels, 0);
    } else {
        for (size_t x = 0; x < inside; x++) {
            ctti_round_rows(target + x * channels, 0, source + x / factor * channels, 0, 1, channels, 0);
        }
    }
    memset(target + inside * channels, 0, (width - left - inside) * channels * sizeof(uint16_t));
}

void ctti_convolve_rounded(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch) {
    uint16_t *rows = (uint16_t *)scratch;
    size_t row_elements = bordered_width(call) * call->channels, count = end_row - first_row;
    size_t copied = copied_elements(call, count);
    ptrdiff_t y = (ptrdiff_t)(first_row * call->stride) - (ptrdiff_t)call->top;
    for (size_t row = 0; row * row_elements < copied; row++) {
        round_row(call, y + (ptrdiff_t)row, rows + row * row_elements);
    }
    memset(rows + copied, 0, slack(call) * sizeof(uint16_t));
    ctti_product product = call->product;
    size_t place = first_row * call->output_row_stride;
    product.y += place;
    if (product.residual) product.residual += place;
    product.row_stride = call->stride * call->channels;
    product.segments = call->kernel_height;
    product.segment_depth = call->kernel_width * call->channels;
    product.segment_stride = row_elements;
    product.rows = call->output_width;
    product.group_stride = call->stride * row_elements;
    product.group_output_stride = call->output_row_stride;
    size_t units = (product.rows + 15) / 16;
    ctti_multiply_rounded(isa, &product, rows, 0, units * count, first, end);
}

// Row `y` of the upsampled image, from column -left on, in units.
static void quantize_row(
    ctti_isa isa, const ctti_convolution *call, ptrdiff_t y, uint8_t *target, float inverse) {
    size_t channels = call->channels, factor = call->upsampling, width = bordered_width(call);
    if (y < 0 || y >= (ptrdiff_t)(call->height * factor)) {
        memset(target, 128, width * channels);
        return;
    }
    const float *source = call->image + (size_t)y / factor * call->width * channels;
    size_t left = call->left < width ? call->left : width;
    size_t inside = call->width * factor < width - left ? call->width * factor : width - left;
    memset(target, 128, left * channels);
    target += left * channels;
    if (factor == 1) {
        ctti_quantize(isa, target, source, inside * channels, inverse);
    } else {
        for (size_t x = 0; x < inside; x++) {
            ctti_quantize(isa, target + x * channels, source + x / factor * channels, channels, inverse);
        }
    }
    memset(target + inside * channels, 128, (width - left - inside) * channels);
}

static size_t slack_of_int8(const ctti_convolution *call) {
    return 16 * call->stride * call->channels + CTTI_INT8_INPUTS;
}

size_t ctti_convolution_int8_scratch(const ctti_convolution *call, size_t rows) {
    return copied_elements(call, rows) + slack_of_int8(call);
}

void ctti_convolve_int8(
    ctti_isa isa, const ctti_convolution *call, const ctti_int8_kernel *kernel, size_t first_row, size_t end_row,
    size_t first, size_t end, uint8_t *scratch) {
    size_t row_elements = bordered_width(call) * call->channels, count = end_row - first_row;
    size_t copied = copied_elements(call, count), depth = call->kernel_width * call->channels;
    ptrdiff_t y = (ptrdiff_t)(first_row * call->stride) - (ptrdiff_t)call->top;
    for (size_t row = 0; row * row_elements < copied; row++) {
        quantize_row(isa, call, y + (ptrdiff_t)row, scratch + row * row_elements, kernel->x_inverse);
    }
    memset(scratch + copied, 128, slack_of_int8(call));
    const ctti_product *end_of = &call->product;
    size_t place = first_row * call->output_row_stride;
    ctti_int8_product product = {
        .x = scratch,
        .row_stride = call->stride * call->channels,
        .segments = call->kernel_height,
        .segment_stride = row_elements,
        .x_scales = &kernel->x_scale,
        .panels = kernel->panels,
        .scales = kernel->scales,
        .zeros = kernel->zeros,
        .inputs = call->kernel_height * ctti_packed_int8_depth(depth),
        .bias = end_of->bias,
        .residual = end_of->residual ? end_of->residual + place : NULL,
        .y = end_of->y + place,
        .output_stride = end_of->output_stride,
        .rows = call->output_width,
        .outputs = end_of->outputs,
        .activation = end_of->activation,
        .group_stride = call->stride * row_elements,
        .group_output_stride = call->output_row_stride,
    };
    ctti_multiply_int8_groups(isa, &product, count, first, end);
}
