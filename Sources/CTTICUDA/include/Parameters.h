// What goes over the border between Swift and the kernels: one structure a kernel, in plain C, so that both sides read the
// same file. Addresses are of device memory.
#pragma once

#ifndef __CUDACC_RTC__
#include <stdint.h>
#endif

typedef uint64_t device_address;

// The driver copies parameters to where the device wants them; Swift has no such alignment.
#if defined(__CUDACC_RTC__) || defined(TTI_ON_CPU)
#define TTI_ALIGNED_ON_DEVICE(bytes) __attribute__((aligned(bytes)))
#else
#define TTI_ALIGNED_ON_DEVICE(bytes)
#endif
// The device's size is a multiple of its alignment, and the driver reads as much: here `unused` fills up what Swift does not align.
#if defined(__cplusplus) || defined(__CUDACC_RTC__)
#define TTI_WHOLE_ON_DEVICE(type, bytes) static_assert(sizeof(type) % bytes == 0, "filled up with `unused`")
#else
#define TTI_WHOLE_ON_DEVICE(type, bytes) _Static_assert(sizeof(type) % bytes == 0, "filled up with `unused`")
#endif

// What the copy engine knows of a tensor, as the driver encodes it.
typedef struct TTI_ALIGNED_ON_DEVICE(64) tti_tensor_map {
    uint64_t words[16];
} tti_tensor_map;

// MARK: elementwise.cu

// y = x + other, where other's `period` elements repeat.
typedef struct tti_add {
    device_address y, x, other;
    int64_t count, period;
} tti_add;

typedef struct tti_activate {
    device_address y, x;
    int64_t count;
    int32_t activation;
} tti_activate;

// y [rows, width] = value · activation(gate) of the halves of x [rows, 2 · width].
typedef struct tti_gate {
    device_address y, x;
    int64_t rows, width;
    int32_t activation, gate_first;
} tti_gate;

// y = qkv [rows, 3 · heads · width] with queries and keys turned by angles [places, width] float, cosine and sine of every pair
// in turns; row r is at place position + r % tokens.
typedef struct tti_rotate {
    device_address y, x, angles, position;
    int64_t rows, tokens;
    int32_t heads, width;
} tti_rotate;

// y = x · (1 + scale) + shift; `rows_of_entry` rows of x share a row of modulation [2 · width].
typedef struct tti_modulate {
    device_address y, x, modulation;
    int64_t rows, width, rows_of_entry;
} tti_modulate;

// y row by row: `bytes` of each row of x, at `offset` in rows of `stride` bytes.
typedef struct tti_join {
    device_address y, x[2];
    int64_t rows, bytes[2], offset[2], stride;
} tti_join;

// y [entries, count, width] = rows of x [batch, tokens, width]; -1 gives zeros.
typedef struct tti_gather {
    device_address y, x, indices;
    int64_t entries, count, width, batch, tokens;
} tti_gather;

// y [count, width] = rows of table; in the type of activations.
typedef struct tti_embed {
    device_address y, ids, table;
    int64_t count, width;
} tti_embed;

// y [batch, 2 · height, 2 · width, channels] of x [batch, height, width, 4 · channels].
typedef struct tti_depth_to_space {
    device_address y, x;
    int64_t rows, width, channels;
} tti_depth_to_space;

// y [count] = activation(x + bias) + residual; x in float, bias [width] float or 0, residual like y or 0.
typedef struct tti_finish {
    device_address y, x, bias, residual;
    int64_t count;
    int32_t width, activation;
} tti_finish;

typedef struct tti_increment {
    device_address counter;
    int64_t count;
} tti_increment;

typedef struct tti_copy {
    device_address y, x;
    int64_t bytes;
} tti_copy;

// MARK: decode_linear.cu

enum tti_norm { TTI_NO_NORM, TTI_LAYER_NORM, TTI_RMS_NORM };

// y [rows, outputs] = activation(norm(x) · weightᵀ + bias) + residual for few rows.
typedef struct tti_decode_linear {
    device_address y, x, bias, residual;
    // [outputs, stride] float, bfloat16 or int8 (panels.cuh); what lies beyond `inputs` is zero. Blocks of 64 bytes of an output
    // are `block_step` bytes apart, the eight outputs of a panel `output_step` (float: rows).
    device_address weight;
    // [outputs] float, for int8.
    device_address scales;
    // Float: [inputs] float, or 0. Else norm_weight is what tti_norm_of_matrix left in `halves`, and norm_sums its `sums`.
    device_address norm_weight, norm_bias, norm_sums;
    // `group` rows at most share a pass over the weights.
    int32_t rows, group, inputs, stride, outputs;
    int32_t output_step, block_step;
    int32_t activation, norm;
    float epsilon;
} tti_decode_linear;

// MARK: norm_of_matrix.cu

// What a product with a norm reads instead of the norm's weights and biases (each 0 or [inputs] float): halves [padded inputs /
// 8][2][8] bfloat16, the nearest and what it lacks, zeros behind `inputs`; sums [outputs][2] float: weights and biases times the
// matrix, which lies as tti_decode_linear says, of bfloat16 or int8 (then both in the units of panels.cuh).
typedef struct tti_norm_of_matrix {
    device_address halves, sums, norm_weight, norm_bias, weight;
    int32_t inputs, padded, stride, outputs, output_step, block_step, is_int8;
} tti_norm_of_matrix;

// MARK: weights.cu

// y [rows, y_stride] = x [rows, width] in another type, rows filled up with zeros. With a `block`, y is a matrix in panels
// (weights.cu), and x are its rows from `first_row` on.
typedef struct tti_convert {
    device_address y, x;
    int64_t rows, width, y_stride, first_row;
    // tti_type
    int32_t from, to;
    // Elements of 64 bytes, or 0.
    int32_t block;
} tti_convert;

// y [rows, stride] = x in panels, or the other way round; bytes.
typedef struct tti_rows_of_panels {
    device_address y, x;
    int64_t rows, stride;
    // Weights of int8 are in panels as panels.cuh says.
    int32_t is_int8;
} tti_rows_of_panels;

// A convolution's kernel as tiles.cu reads it: y [outputs, taps, channels up to y_channels] = x [outputs, channels, taps].
typedef struct tti_pack_kernel {
    device_address y, x;
    int64_t outputs, channels, taps, y_channels;
    // tti_type
    int32_t from, to;
} tti_pack_kernel;

// MARK: attention.cu, attention_short.cu

// y [batch, queries, heads · width] = softmax(q · kᵀ · scale + masks) · v for whole sequences. Strides from one row to the
// next are in elements. `aligned`: rows of q, k, v begin at multiples of 16 bytes and are such multiples.
typedef struct tti_attention {
    device_address y, q, keys, values;
    // float [key_batch, key_count] and [bias_heads, queries, key_count], or 0
    device_address key_bias, score_bias;
    int64_t q_stride, key_stride, value_stride;
    int32_t batch, key_batch, queries, key_count, heads, width, bias_heads, causal, window_columns, window_reach;
    int32_t aligned;
    // Whether keys and values are older than the kernel before.
    int32_t is_settled;
    float scale;
} tti_attention;

// MARK: attention_hopper.cu

// q and y [batch, queries, heads, width], keys and values [key_batch, key_count, heads, width] in boxes of 64 columns of a head;
// y and q in boxes of 64 rows.
typedef struct tti_attention_hopper {
    tti_tensor_map q, keys, values, y;
    int32_t batch, key_batch, key_count;
    // Whether keys and values are older than the kernel before.
    int32_t is_settled;
    // Of scores, for exponents of two; greater than 0.
    float factor;
    int32_t unused[11];
} tti_attention_hopper;
TTI_WHOLE_ON_DEVICE(tti_attention_hopper, 64);

// MARK: eager_attention.cu

// For each entry of the batch and head: y [rows, columns] = scale · a [rows, depth] · b; b is [columns, depth] for scores,
// [depth, columns] for what they mix. Strides are in elements, from one row, one head, one entry to the next.
typedef struct tti_attention_product {
    device_address y, a, b;
    int64_t y_row, y_head, y_entry, a_row, a_head, a_entry, b_row, b_head, b_entry;
    int32_t batch, b_batch, heads, rows, columns, depth, aligned;
    float scale;
} tti_attention_product;

// weights [batch, heads, queries, weight_stride] = softmax(scores [batch, heads, queries, key_count] + masks); may be in place.
typedef struct tti_attention_softmax {
    device_address weights, scores, key_bias, score_bias;
    int64_t weight_stride;
    int32_t batch, key_batch, heads, queries, key_count, bias_heads, causal, window_columns, window_reach;
} tti_attention_softmax;

// MARK: decode_attention.cu

// Few queries, each over the keys that it sees, which are counted in chunks; strides are in elements. With `position`, the
// one query of an entry stands there; else query i stands at i (`causal`) or sees all `keys`. With `new_keys`, the keys and
// values of the position are taken from there and written to the cache.
typedef struct tti_decode_attention {
    // y [batch · queries, heads · width]
    device_address y, q, keys, values;
    // [batch, heads · width] in rows of q_stride, or 0
    device_address new_keys, new_values;
    // int32, or 0
    device_address position;
    // float [key_batch, key_count] and [bias_heads, queries, key_count], or 0
    device_address key_bias, score_bias;
    // Numbers with marks, [batch · queries · heads, chunks, 2 + width], left without marks; 0 where there is one chunk
    device_address parts;
    int64_t q_stride;
    // From one key to the next, one head to the next, one entry to the next.
    int64_t key_row, key_head, key_entry, value_row, value_head, value_entry;
    int32_t batch, key_batch, queries, key_count, heads, width, bias_heads, causal, window_columns, window_reach;
    // Whether keys, values and the position are older than the kernel before.
    int32_t is_settled;
    float scale;
} tti_decode_attention;

// Keys and values [batch, heads · width], in rows of their own, into caches [batch, heads, capacity, width] at `position`.
typedef struct tti_append {
    device_address keys, values, new_keys, new_values, position;
    int64_t key_stride, value_stride, count, capacity;
    int32_t heads, width;
} tti_append;

enum tti_type { TTI_FLOAT32, TTI_FLOAT16, TTI_BFLOAT16 };

// y [all rows, stride] int8 and scales [all rows] of x [rows, width], which are the rows from `first_row` on.
typedef struct tti_quantise_weights {
    device_address y, scales, x;
    int64_t rows, width, stride, first_row;
    // tti_type
    int32_t from;
    // 64 where y is in panels, or 0.
    int32_t block;
} tti_quantise_weights;

// MARK: quantise.cu

// y [rows, stride] int8 and scales [rows] float32 of x [rows, width], filled up with zeros; stride is a multiple of 16.
typedef struct tti_quantise_rows {
    device_address y, scales, x;
    int32_t rows, width, stride;
} tti_quantise_rows;

// MARK: norm.cu

// y [rows, width] = norm(x) · weight + bias, then · (1 + scale) + shift where there is a modulation: `rows_of_entry` rows
// share a row [2 · width] of it.
typedef struct tti_row_norm {
    device_address y, x, weight, bias, modulation;
    // y as int8 [rows, stride] and scales [rows] float32, as quantise.cu makes them of y; or 0
    device_address integers, scales;
    int32_t rows, rows_of_entry, width, stride;
    // tti_norm
    int32_t norm;
    // Whether the modulation is older than the kernel before.
    int32_t is_settled;
    float epsilon;
} tti_row_norm;

// MARK: tiles.cu

// y [rows, outputs] = activation(a · weightᵀ + bias) + residual. Row r of a is what output pixel r sees: for each tap a
// pixel of x, 16-byte pieces of its channels, or zeros. A matrix is an image of 1×1 pixels for each row, with one tap.
typedef struct tti_tiles {
    device_address y, x, weight;
    // The image that has the channels behind those of x; or 0
    device_address joined;
    // [outputs] float32; or 0
    device_address bias;
    // [rows, outputs]; or 0
    device_address residual;
    // Where `splits` is more than 1: sums of parts of the depth [splits, rows, outputs up to a multiple of 8].
    device_address partial;
    // int8 only: [rows] and [outputs] float32
    device_address x_scales, weight_scales;
    // Bytes from one output's weights to the next; a multiple of 16.
    int64_t weight_stride;
    int32_t rows, outputs;
    // Of one image, before and after; `shift` is 1 where it is doubled as it is read.
    int32_t height, width, output_height, output_width, shift;
    int32_t kernel_width, stride, top, left;
    // 16-byte pieces of a pixel, of these those that x has, and of all taps.
    int32_t channel_pieces, own_pieces, pieces;
    int32_t splits;
    int32_t activation;
} tti_tiles;

// y [rows, width up to y_width] = x [rows, width], filled up with zeros; rows of y are whole pieces of 16 bytes.
typedef struct tti_pad_rows {
    device_address y, x;
    int64_t rows, width, y_width;
} tti_pad_rows;

// MARK: partial_statistics.cuh

// Channels that a part is of at most; groups of an image that every block of a kernel can join.
enum { TTI_PART_CHANNELS = 32, TTI_MOST_JOINED_GROUPS = 128 };

// Means of parts of images, and squares about them: parts [images, boxes, parts_of_box] of two float32.
typedef struct tti_partial_statistics {
    // Or 0: nothing is wanted.
    device_address parts;
    // Of an image, where a box has a pixel of each; of a box.
    int32_t width, height, box_width, box_height;
    // Boxes of an image: across, down, and all of them: of a doubled image four times as many.
    int32_t across, down, boxes;
    // Channels of a group; groups, and how many times 32 channels there are.
    int32_t group_width, parts_of_box;
} tti_partial_statistics;

// MARK: hopper.cu

// A convolution with the images' rows as they lie: y [images, height, width, outputs] = activation(boxes of x · weightᵀ +
// bias) + residual in bfloat16. A product of matrices is one of an image that is one pixel high, with a kernel of one tap.
typedef struct tti_hopper {
    // x [images, height, width, channels] in boxes of 64 channels; weight [outputs, taps · channels] in boxes of 64 inputs
    // (matrices of int8: 128); y
    // and the residual in boxes of 32 outputs. The boxes of x, y and the residual have as many pixels as a tile has rows.
    // With `doubles` a pixel of x is four of y, [images, height, 2, width, 2, outputs], without a residual: y has a map of each.
    // Boxes of channels from `own_blocks` on are those of `joined`, an image of the size of x.
    tti_tensor_map x, joined, weight, residual, y[4];
    // [rows of the weights]; or 0
    device_address bias;
    // Where `splits` is more than 1: the parts' sums, and int32 zeros for each tile.
    device_address partial, counters;
    // int8 only: [rows] and [rows of the weights] float32
    device_address x_scales, weight_scales;
    // Columns of y.
    int32_t outputs;
    // Gated: y = value · activation(gate), and the rows of the weights (and of the bias) at which values and gates begin.
    int32_t is_gated, value_row, gate_row;
    // Boxes of pixels: how large one is, how many lie across and down an image, and how many there are.
    int32_t box_width, box_height, box_images, across, down, boxes;
    // Boxes of channels, of these those of x; of all and all taps.
    int32_t channel_blocks, own_blocks, blocks;
    int32_t kernel_width, stride, top, left, doubles;
    int32_t splits, activation, adds, is_bfloat16_bias;
    // Of x, int8 only.
    int32_t rows;
    // What a group norm of y wants; box_images is 1 then.
    tti_partial_statistics statistics;
    int32_t unused[18];
} tti_hopper;
TTI_WHOLE_ON_DEVICE(tti_hopper, 64);

// MARK: image_norm.cu

// y = activation(norm of each of `groups` groups of channels of x [images, pixels, channels]).
// The first `own_channels` of them are those of x, the others those of `joined`, an image of as many pixels.
typedef struct tti_group_norm {
    device_address y, x, joined, weight, bias;
    // Between kernels: mean and squares [images, groups, blocks]; mean and 1 / deviation [images, groups]; zeros [images].
    device_address slices, statistics, counters;
    int64_t pixels;
    int32_t channels, own_channels, groups, activation, pixels_of_block;
    float epsilon;
    // What the convolution that made x left.
    tti_partial_statistics partial;
} tti_group_norm;

// y = gamma · x · lengths / mean of them + beta + x of x [images, pixels, channels]; lengths [images, channels] float32.
typedef struct tti_response_norm {
    device_address y, x, gamma, beta, lengths;
    int64_t pixels;
    int32_t channels;
} tti_response_norm;

// MARK: depthwise.cu

// x, y [images, height, width, channels], `count` elements; weight [kernel_height, kernel_width, channels] float32.
typedef struct tti_depthwise {
    device_address y, x, weight;
    int64_t count;
    int32_t height, width, channels, kernel_height, kernel_width;
} tti_depthwise;

// MARK: ceilings.cu

// `count` pieces of 16 bytes.
typedef struct tti_read_all {
    device_address y, x;
    int64_t count;
} tti_read_all;

typedef struct tti_rounds {
    device_address y;
    int32_t rounds;
} tti_rounds;

// MARK: choice.cu, unmask.cu

// What the threads of a block share while they choose; a row of numbers lies behind it in dynamic shared memory.
enum { TTI_SELECTION_BYTES = 16896 };

// What a token is drawn with: SamplingState, and how it is done.
typedef struct tti_draw {
    device_address settings, keys, position;
    // Set to 1 when a logit is not finite.
    device_address non_finite;
    int64_t vocabulary;
    // Whether a row of logits fits into shared memory.
    int32_t is_shared;
    // Weights are integers of `weight_bits`, whose sums are kept in two parts, the lower one of `low_bits` each.
    int32_t weight_bits, low_bits;
} tti_draw;

// y [count] float of logits [2, count]; `entries` of guidance.
typedef struct tti_guide {
    device_address y, logits, guidance, position;
    int64_t count, entries;
} tti_guide;

// y [images] and a column of codes [images, tokens] of logits [images or (guided) 2 · images, vocabulary].
typedef struct tti_sample {
    tti_draw draw;
    device_address y, codes, logits, guidance;
    int64_t images, tokens, entries;
    int32_t is_guided;
} tti_sample;

// y [images, count] of tokens [images, width].
typedef struct tti_masked_places {
    device_address y, tokens;
    int64_t width, count;
    int32_t mask_token;
} tti_masked_places;

// tokens, predicted [images, width] at places [images, count] from logits [images or 1, count, vocabulary], by way of drawn
// and confidences [images, count].
typedef struct tti_unmask {
    tti_draw draw;
    device_address tokens, predicted, places, logits;
    // [steps], and [width] or nothing.
    device_address remaining, noise, order;
    device_address drawn, confidences;
    int64_t width, count, steps;
    // Whether one image's logits serve all; whether a row of confidences fits into shared memory.
    int32_t is_one_row, is_shared;
    int32_t mask_token;
} tti_unmask;

// MARK: nearest.cu

// y [rows] of x [rows, width] and codebook [codes, width], by way of parts [part_count, rows] of 64 bits.
typedef struct tti_nearest {
    device_address y, x, codebook, parts;
    int64_t rows, codes, width, codes_of_part, part_count;
} tti_nearest;

// MARK: diffusion.cu

enum { TTI_MOST_KEPT = 12 };

// DiffusionState; `noise` and `mask` may be nothing. count = images · height · width · channels.
typedef struct tti_combine {
    device_address output, input, latents, weights, input_scale, noise, mask, picture, picture_weights, position;
    int64_t count, channels;
    int32_t kept;
    float limit;
} tti_combine;
