// Convolution as products, without patches. In [height, width, channels] what an output pixel sees is one run of
// kernel_width · channels floats for each row of the kernel, and its right neighbour's runs begin stride · channels later:
// so a row of output pixels is a product with constant strides, straight from the image. Only padding, upsampling, a norm and
// other types of numbers need a copy: of the few input rows that a block of output rows sees, bordered with zeros, small enough
// for the second-level cache. A norm that is done on this way saves writing and reading its result.
//
// Bound: multiply-adds. On one core of a Zen 5 server, in CPU time, with AVX-512: 208 to 234 GFLOP/s (88 to 96 % of the
// multiply-adds in registers) for 3×3 kernels from 32 to 512 channels, images from 16×16 to 256×256, copies included; 33
// for three outputs, of which each is a lane of sixteen.
#include <string.h>

#include "CTTIKernels.h"

static bool has_norm(const ctti_convolution *call) { return call->norm.mean != NULL; }

static bool is_in_place(const ctti_convolution *call) {
    return call->upsampling == 1 && call->top + call->left + call->bottom + call->right == 0 && !has_norm(call);
}

static size_t bordered_width(const ctti_convolution *call) {
    return (call->output_width - 1) * call->stride + call->kernel_width;
}

static size_t copied_elements(const ctti_convolution *call, size_t rows) {
    return ((rows - 1) * call->stride + call->kernel_height) * bordered_width(call) * call->channels;
}

// MARK: The norm

void ctti_norm_pixels(
    ctti_isa isa, const ctti_image_norm *norm, float *target, const float *image, size_t first, size_t count,
    size_t channels) {
    const ctti_norm_kernels *kernels = ctti_norm(isa);
    if (!norm->joined) {
        kernels->channel_affine(
            target, image + first * channels, count, channels, norm->mean, norm->scale, norm->shift, norm->activation);
        return;
    }
    size_t joined = norm->joined_channels, own = channels - joined;
    for (size_t pixel = first; pixel < first + count; pixel++, target += channels) {
        kernels->channel_affine(
            target, image + pixel * own, 1, own, norm->mean, norm->scale, norm->shift, norm->activation);
        kernels->channel_affine(
            target + own, norm->joined + pixel * joined, 1, joined, norm->mean + own, norm->scale + own,
            norm->shift + own, norm->activation);
    }
}

// MARK: The copy

// What its numbers are.
typedef enum { FLOATS, BFLOATS, INTEGERS } copy_type;

static size_t bytes_of(copy_type type) { return type == FLOATS ? sizeof(float) : type == BFLOATS ? sizeof(uint16_t) : 1; }

// Every byte of a zero: integers are 128 more than they stand for.
static int zero_of(copy_type type) { return type == INTEGERS ? 128 : 0; }

// What products of other types read past the copy: up to 16 pixels of the last row, and the rest of a run.
static size_t slack(const ctti_convolution *call, copy_type type) {
    size_t rest = type == FLOATS ? 0 : type == BFLOATS ? CTTI_TILE_INPUTS : CTTI_INT8_INPUTS;
    return type == FLOATS ? 0 : 16 * call->stride * call->channels + rest;
}

// Pixels whose norm stays in the first-level cache until it is converted.
static size_t pixels_of_run(const ctti_convolution *call) {
    return call->channels < 2048 ? 2048 / call->channels : 1;
}

// Floats before the copy, in whole lines.
static size_t run_floats(const ctti_convolution *call) {
    return has_norm(call) ? (pixels_of_run(call) * call->channels + 15) / 16 * 16 : 0;
}

static size_t scratch_floats(const ctti_convolution *call, size_t rows, copy_type type) {
    size_t bytes = (copied_elements(call, rows) + slack(call, type)) * bytes_of(type);
    return run_floats(call) + (bytes + sizeof(float) - 1) / sizeof(float);
}

typedef struct {
    ctti_isa isa;
    const ctti_convolution *call;
    copy_type type;
    float inverse;  // of integers: how many units 1 is
    float *run;     // of a norm
} copy_form;

static void convert(const copy_form *form, char *target, const float *source, size_t count) {
    switch (form->type) {
    case FLOATS: memcpy(target, source, count * sizeof(float)); break;
    case BFLOATS: ctti_round_rows((uint16_t *)target, 0, source, 0, 1, count, 0); break;
    case INTEGERS: ctti_quantize(form->isa, (uint8_t *)target, source, count, form->inverse); break;
    }
}

// Pixels of the image from `first` on.
static void copy_pixels(const copy_form *form, char *target, size_t first, size_t pixels) {
    const ctti_convolution *call = form->call;
    size_t channels = call->channels;
    if (!has_norm(call)) {
        convert(form, target, call->image + first * channels, pixels * channels);
        return;
    }
    size_t at_once = pixels_of_run(call);
    for (size_t pixel = 0; pixel < pixels; pixel += at_once) {
        size_t count = pixels - pixel < at_once ? pixels - pixel : at_once;
        ctti_norm_pixels(form->isa, &call->norm, form->run, call->image, first + pixel, count, channels);
        convert(form, target + pixel * channels * bytes_of(form->type), form->run, count * channels);
    }
}

// Row `y` of the upsampled image, from column -left on.
static void copy_row(const copy_form *form, ptrdiff_t y, char *target) {
    const ctti_convolution *call = form->call;
    size_t factor = call->upsampling, width = bordered_width(call), pixel = call->channels * bytes_of(form->type);
    int zero = zero_of(form->type);
    if (y < 0 || y >= (ptrdiff_t)(call->height * factor)) {
        memset(target, zero, width * pixel);
        return;
    }
    size_t first = (size_t)y / factor * call->width;
    size_t left = call->left < width ? call->left : width;
    size_t inside = call->width * factor < width - left ? call->width * factor : width - left;
    memset(target, zero, left * pixel);
    target += left * pixel;
    if (factor == 1) {
        copy_pixels(form, target, first, inside);
    } else {
        for (size_t x = 0; x < inside; x++) {
            copy_pixels(form, target + x * pixel, first + x / factor, 1);
        }
    }
    memset(target + inside * pixel, zero, (width - left - inside) * pixel);
}

// What some rows of the result see, and zeros behind it. Returns where it is in the scratch.
static void *copy_rows(
    ctti_isa isa, const ctti_convolution *call, copy_type type, float inverse, size_t first_row, size_t rows,
    float *scratch) {
    copy_form form = {.isa = isa, .call = call, .type = type, .inverse = inverse, .run = scratch};
    char *copy = (char *)(scratch + run_floats(call));
    size_t row_bytes = bordered_width(call) * call->channels * bytes_of(type);
    size_t count = (rows - 1) * call->stride + call->kernel_height;
    ptrdiff_t y = (ptrdiff_t)(first_row * call->stride) - (ptrdiff_t)call->top;
    for (size_t row = 0; row < count; row++) copy_row(&form, y + (ptrdiff_t)row, copy + row * row_bytes);
    memset(copy + count * row_bytes, zero_of(type), slack(call, type) * bytes_of(type));
    return copy;
}

// MARK: The products

size_t ctti_convolution_scratch(const ctti_convolution *call, size_t rows, bool rounded) {
    if (rounded) return scratch_floats(call, rows, BFLOATS);
    return is_in_place(call) ? 0 : scratch_floats(call, rows, FLOATS);
}

void ctti_convolve(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch) {
    ctti_product product = call->product;
    size_t width = call->width, pixels = call->output_width;
    const float *rows = call->image + first_row * call->stride * width * call->channels;
    if (!is_in_place(call)) {
        width = bordered_width(call);
        rows = copy_rows(isa, call, FLOATS, 0, first_row, end_row - first_row, scratch);
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

void ctti_convolve_rounded(
    ctti_isa isa, const ctti_convolution *call, size_t first_row, size_t end_row, size_t first, size_t end,
    float *scratch) {
    size_t row_elements = bordered_width(call) * call->channels, count = end_row - first_row;
    const uint16_t *rows = copy_rows(isa, call, BFLOATS, 0, first_row, count, scratch);
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

size_t ctti_convolution_int8_scratch(const ctti_convolution *call, size_t rows) {
    return scratch_floats(call, rows, INTEGERS);
}

void ctti_convolve_int8(
    ctti_isa isa, const ctti_convolution *call, const ctti_int8_kernel *kernel, size_t first_row, size_t end_row,
    size_t first, size_t end, float *scratch) {
    size_t row_elements = bordered_width(call) * call->channels, count = end_row - first_row;
    size_t depth = call->kernel_width * call->channels;
    const ctti_product *end_of = &call->product;
    size_t place = first_row * call->output_row_stride;
    ctti_int8_product product = {
        .x = copy_rows(isa, call, INTEGERS, kernel->x_inverse, first_row, count, scratch),
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
