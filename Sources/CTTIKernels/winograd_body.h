// What Winograd's convolution is besides its products: transforms along both axes of a tile, sixteen channels or outputs at a time.
// Bound by the caches: inputs grow by 4 (m = 2) or 2.25 (m = 4), and so do outputs on their way back. Weights are transformed
// at every call, group by group: sixteen sums and 36 stores for nine weights are a few percent of the products they save, and a
// model's weights stay as large as they are.
//
// F(4×4) interpolates at 0, ±√½, ±√2 and infinity. With the usual 0, ±1, ±2 its largest error is four times as large, and above
// what a product in binary32 may be off by; so it is a third of that.
#include "vector_math.h"

static const float root = 0.707106781f;

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

// Along one axis: six (four) inputs become as many, Bᵀ · d.
INLINE void turn_input(vf d[6], size_t stride, size_t m) {
    vf a = d[0], b = d[stride], c = d[2 * stride], e = d[3 * stride];
    if (m == 2) {
        d[0] = a - c;
        d[stride] = b + c;
        d[2 * stride] = c - b;
        d[3 * stride] = b - e;
    } else {
        vf f = d[4 * stride], g = d[5 * stride];
        vf even = f - c * 2.0f, odd = (e - b * 2.0f) * root, wide = f - c * 0.5f, far = (e - b * 0.5f) * (2 * root);
        d[0] = a - c * 2.5f + f;
        d[stride] = even + odd;
        d[2 * stride] = even - odd;
        d[3 * stride] = wide + far;
        d[4 * stride] = wide - far;
        d[5 * stride] = b - e * 2.5f + g;
    }
}

// Aᵀ · d: of six (four) products four (two) outputs, in the first places.
INLINE void turn_output(vf d[6], size_t stride, size_t m) {
    vf a = d[0], b = d[stride], c = d[2 * stride], e = d[3 * stride];
    vf sum = b + c, difference = b - c;
    if (m == 2) {
        d[0] = a + sum;
        d[stride] = difference - e;
    } else {
        vf f = d[4 * stride], g = d[5 * stride], outer = e + f, across = e - f;
        d[0] = a + sum + outer;
        d[stride] = difference * root + across * (2 * root);
        d[2 * stride] = sum * 0.5f + outer * 2.0f;
        d[3 * stride] = difference * (root / 2) + across * (4 * root) + g;
    }
}

// G · g: of three weights six (four).
INLINE void turn_weights(vf d[6], const vf g[3], size_t m) {
    if (m == 2) {
        vf sum = (g[0] + g[2]) * 0.5f, middle = g[1] * 0.5f;
        d[0] = g[0];
        d[1] = sum + middle;
        d[2] = sum - middle;
        d[3] = g[2];
    } else {
        vf near = (g[0] * 2.0f + g[2]) * (-1.0f / 3), middle = g[1] * (-2 * root / 3);
        vf far = (g[0] + g[2] * 2.0f) * (1.0f / 6), half = g[1] * (root / 3);
        d[0] = g[0];
        d[1] = near + middle;
        d[2] = near - middle;
        d[3] = far + half;
        d[4] = far - half;
        d[5] = g[2];
    }
}

// Where a tile of the run lies: its image, and its first output row and column.
typedef struct {
    size_t entry, top, left;
} tile_place;

INLINE tile_place place_tile(const ctti_winograd *call, size_t tile, size_t m) {
    size_t across = ctti_winograd_across(call), all = across * ctti_winograd_down(call), own = (call->first_tile + tile) % all;
    return (tile_place){(call->first_tile + tile) / all, own / across * m, own % across * m};
}

INLINE void input_tiles(const ctti_winograd *call, size_t first, size_t end, size_t m) {
    size_t side = m + 2, channels = call->channels, factor = call->upsampling;
    size_t height = call->height * factor, width = call->width * factor;
    for (size_t tile = first; tile < end; tile++) {
        tile_place place = place_tile(call, tile, m);
        const float *image = call->image + place.entry * call->height * call->width * channels;
        for (size_t c = 0; c < channels; c += LANES) {
            vf d[36];
            UNROLL for (size_t y = 0; y < side; y++) {
                // Shifted by the padding: what wraps around is outside too.
                size_t row = place.top + y - 1;
                const float *pixels = image + row / factor * call->width * channels + c;
                UNROLL for (size_t x = 0; x < side; x++) {
                    size_t column = place.left + x - 1;
                    bool inside = row < height && column < width;
                    d[y * side + x] = inside ? load(pixels + column / factor * channels) : splat(0);
                }
            }
            UNROLL for (size_t x = 0; x < side; x++) turn_input(d + x, side, m);
            UNROLL for (size_t y = 0; y < side; y++) turn_input(d + y * side, 1, m);
            UNROLL for (size_t i = 0; i < side * side; i++) {
                store(call->inputs + (i * call->tiles_at_once + tile) * channels + c, d[i]);
            }
        }
    }
}

// Sixteen of a panel's weights of one input, from the `v`th output on. In bfloat16 two inputs of an output lie beside each other.
INLINE vf load_weights(const ctti_winograd *call, size_t start, size_t input, size_t lanes, size_t v) {
    if (call->wide) return load((const float *)call->panels + start + input * lanes + v);
    vu pairs;
    memcpy(&pairs, (const uint16_t *)call->panels + start + input / 2 * 2 * lanes + 2 * v, sizeof pairs);
    return (vf)(input % 2 ? pairs & 0xffff0000u : pairs << 16);
}

INLINE void weight_panel(const ctti_winograd *call, size_t panel, size_t first, size_t end, size_t m) {
    size_t side = m + 2, channels = call->channels, column = (call->first_panel + panel) * 32;
    size_t lanes = call->outputs - column > 16 ? 32 : 16, start_of_panel = column * 3 * call->packed_depth;
    for (size_t c = first; c < end; c++) {
        // A chunk of channels is a product of its own, with panels of its own.
        size_t start = c / call->chunk * call->chunk, length = least(call->chunk, channels - start);
        float *target = call->weights + (start * call->panels_at_once + length * panel) * 32 + (c - start) * lanes;
        for (size_t v = 0; v < lanes; v += LANES) {
            vf rows[3][6], d[6];
            UNROLL for (size_t x = 0; x < 3; x++) {
                vf g[3];
                UNROLL for (size_t y = 0; y < 3; y++) {
                    g[y] = load_weights(call, start_of_panel, y * call->packed_depth + x * channels + c, lanes, v);
                }
                turn_weights(rows[x], g, m);
            }
            UNROLL for (size_t y = 0; y < side; y++) {
                vf g[3] = {rows[0][y], rows[1][y], rows[2][y]};
                turn_weights(d, g, m);
                UNROLL for (size_t x = 0; x < side; x++) {
                    store(target + (y * side + x) * call->panels_at_once * channels * 32 + v, d[x]);
                }
            }
        }
    }
}

INLINE void output_tiles(const ctti_winograd *call, size_t first, size_t end, size_t m) {
    size_t side = m + 2, height = call->height * call->upsampling, width = call->width * call->upsampling;
    size_t begin = call->first_panel * 32, stride = 32 * call->panels_at_once;
    size_t count = least(call->outputs - begin, stride);
    for (size_t tile = first; tile < end; tile++) {
        tile_place place = place_tile(call, tile, m);
        for (size_t o = 0; o < count; o += LANES) {
            vf d[36], start = call->bias ? load(call->bias + begin + o) : splat(0);
            UNROLL for (size_t i = 0; i < side * side; i++) {
                d[i] = load(call->products + (i * call->tiles_at_once + tile) * stride + o);
            }
            UNROLL for (size_t x = 0; x < side; x++) turn_output(d + x, side, m);
            UNROLL for (size_t y = 0; y < m; y++) {
                turn_output(d + y * side, 1, m);
                UNROLL for (size_t x = 0; x < m; x++) {
                    if (place.top + y < height && place.left + x < width) {
                        size_t pixel = (place.entry * height + place.top + y) * width + place.left + x;
                        vf value = d[y * side + x] + start;
                        if (call->activation != IDENTITY) value = activate_lanes(value, call->activation);
                        if (call->residual) value += load(call->residual + pixel * call->outputs + begin + o);
                        store(call->y + pixel * call->outputs + begin + o, value);
                    }
                }
            }
        }
    }
}

static void winograd_inputs(const ctti_winograd *call, size_t first, size_t end) {
    call->m == 2 ? input_tiles(call, first, end, 2) : input_tiles(call, first, end, 4);
}

static void winograd_weights(const ctti_winograd *call, size_t panel, size_t first, size_t end) {
    call->m == 2 ? weight_panel(call, panel, first, end, 2) : weight_panel(call, panel, first, end, 4);
}

static void winograd_outputs(const ctti_winograd *call, size_t first, size_t end) {
    call->m == 2 ? output_tiles(call, first, end, 2) : output_tiles(call, first, end, 4);
}
