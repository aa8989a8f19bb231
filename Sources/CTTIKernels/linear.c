// How a product is cut into tiles, for every instruction set, and how weights are packed.
#include <string.h>

#include "linear_tiles.h"

static const ctti_linear_kernels *kernels_for(ctti_isa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_linear_avx512;
    case CTTI_AVX2: return &ctti_linear_avx2;
#endif
    default: return &ctti_linear_portable;
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

// Panels on the outside: the weights come from memory once, and from the second-level cache for the other tiles of rows.
void ctti_multiply(
    ctti_isa isa, const ctti_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    const ctti_linear_kernels *kernels = kernels_for(isa);
    size_t outputs = product->outputs, rows = end_row - first_row;
    size_t inputs = product->segments * ctti_packed_depth(product->wide, product->segment_depth);
    size_t panel_bytes = inputs * ctti_panel_width * (product->wide ? sizeof(float) : 2);
    // From a cache two panels at once are faster than one. From memory one is on Zen 5 (37 against 29 to 32 GB/s), four are on
    // the processors that have tiles (13.5 against 19 to 21 on Sapphire Rapids). Small matrices are those of small models.
    bool is_small = panel_bytes * ctti_panel_count(outputs) <= 1 << 20;
    size_t at_once = rows > 2 ? 1 : is_small ? 2 : isa == CTTI_AMX ? 4 : 1;
    ctti_strip strip = at_once > 1 ? kernels->strips[at_once == 4][product->wide][rows] : NULL;
    // Tiles of nearly the same height: 16 rows are 8 + 8, not 14 + 2.
    size_t tiles = (rows + kernels->most_rows - 1) / kernels->most_rows;
    for (size_t panel = first; panel < end;) {
        size_t column = panel * ctti_panel_width;
        const char *weights = (const char *)product->panels + panel * panel_bytes;
        const float *bias = product->bias ? product->bias + column : NULL;
        bool is_strip = strip && panel + at_once <= end && column + at_once * ctti_panel_width <= outputs;
        size_t width = least(outputs - column, (is_strip ? at_once : 1) * ctti_panel_width);
        for (size_t tile = 0; tile < tiles; tile++) {
            size_t row = first_row + rows * tile / tiles;
            size_t count = first_row + rows * (tile + 1) / tiles - row;
            const float *x = product->x + row * product->row_stride;
            size_t place = row * product->output_stride + column;
            const float *residual = product->residual ? product->residual + place : NULL;
            const float *added = product->activation == CTTI_IDENTITY ? residual : NULL;
            if (is_strip) {
                strip(product, x, weights, bias, added, product->y + place);
            } else {
                kernels->tiles[product->wide][width > 16][count](
                    product, x, weights, bias, added, product->y + place, width);
            }
            if (product->activation != CTTI_IDENTITY) {
                kernels->finish(product->y + place, residual, product->output_stride, count, width, product->activation);
            }
        }
        panel += is_strip ? at_once : 1;
    }
}

size_t ctti_panel_count(size_t outputs) { return (outputs + ctti_panel_width - 1) / ctti_panel_width; }

size_t ctti_packed_depth(bool wide, size_t depth) {
    return wide ? depth : (depth + CTTI_TILE_INPUTS - 1) / CTTI_TILE_INPUTS * CTTI_TILE_INPUTS;
}

static size_t width_of(size_t outputs) { return outputs > 16 ? ctti_panel_width : 16; }

size_t ctti_panel_elements(size_t outputs, size_t inputs) {
    if (outputs == 0) return 0;
    size_t before = (ctti_panel_count(outputs) - 1) * ctti_panel_width;
    return (before + width_of(outputs - before)) * inputs;
}

// Blocks of inputs whose part of the panel stays in the first-level cache while its outputs' rows are read.
enum { block_inputs = 64 };

void ctti_pack_float32(float *panel, const void *matrix, size_t outputs, size_t segments, size_t depth) {
    size_t width = width_of(outputs), inputs = segments * depth, used = least(width, outputs);
    for (size_t begin = 0; begin < inputs; begin += block_inputs) {
        size_t count = least(block_inputs, inputs - begin);
        float *target = panel + begin * width;
        if (used < width) memset(target, 0, count * width * sizeof(float));
        for (size_t output = 0; output < used; output++) {
            const char *source = (const char *)matrix + (output * inputs + begin) * sizeof(float);
            for (size_t i = 0; i < count; i++) memcpy(target + i * width + output, source + i * 4, 4);
        }
    }
}

void ctti_pack_bfloat16(uint16_t *panel, const void *matrix, size_t outputs, size_t segments, size_t depth) {
    size_t width = width_of(outputs), used = least(width, outputs), padded = ctti_packed_depth(false, depth);
    for (size_t segment = 0; segment < segments; segment++, panel += padded * width) {
        for (size_t begin = 0; begin < padded; begin += block_inputs) {
            size_t end = least(begin + block_inputs, padded), count = least(end, depth) - begin;
            uint16_t *target = panel + begin * width;
            if (used < width || end > depth) memset(target, 0, (end - begin) * width * sizeof(uint16_t));
            for (size_t output = 0; output < used; output++) {
                const char *source = (const char *)matrix + ((output * segments + segment) * depth + begin) * 2;
                for (size_t i = 0; i + 1 < count; i += 2) memcpy(target + i * width + 2 * output, source + i * 2, 4);
                if (count % 2 == 1) memcpy(target + (count - 1) * width + 2 * output, source + (count - 1) * 2, 2);
            }
        }
    }
}

void ctti_unpack(
    float *matrix, const void *panels, bool wide, size_t outputs, size_t segments, size_t depth, size_t panel) {
    size_t padded = ctti_packed_depth(wide, depth), column = panel * ctti_panel_width;
    size_t width = width_of(outputs - column), start = column * segments * padded;
    for (size_t output = 0; output < least(width, outputs - column); output++) {
        for (size_t segment = 0; segment < segments; segment++) {
            float *target = matrix + ((column + output) * segments + segment) * depth;
            for (size_t i = 0; i < depth; i++) {
                size_t row = start + (segment * padded + i) * width;
                if (wide) {
                    target[i] = ((const float *)panels)[row + output];
                } else {
                    size_t place = row - i % 2 * width + 2 * output + i % 2;
                    uint32_t bits = (uint32_t)((const uint16_t *)panels)[place] << 16;
                    memcpy(target + i, &bits, sizeof bits);
                }
            }
        }
    }
}
