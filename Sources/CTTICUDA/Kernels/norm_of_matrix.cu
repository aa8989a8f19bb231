// What decode_linear.cuh needs of a norm and the matrix after it, once for both: the norm's weights as two bfloat16, and the
// sums of every output's weights with the norm's.
#include "panels.cuh"

#ifdef TTI_BF16

#define THREADS 256

INLINE float byte_of_panel(const char *at) {
    int byte = (int)((device_address)at & 3);
    return (float)(int8_t)(bytes_of_panel(*(const uint32_t *)(at - byte)) >> 8 * byte);
}

INLINE float number_or(device_address x, int i, float without) { return x ? pointer<const float>(x)[i] : without; }

// A warp an output.
KERNEL(norm_of_matrix, tti_norm_of_matrix, THREADS) {
    wait_for_inputs();
    float input_unit = p.is_int8 ? PANEL_INPUT_UNIT : 1.0f, sum_unit = p.is_int8 ? PANEL_SUM_UNIT : 1.0f;
    int thread = blockIdx.x * THREADS + threadIdx.x, output = thread / WARP, lane = thread % WARP;
    for (int i = thread; i < p.padded; i += gridDim.x * THREADS) {
        float n = i < p.inputs ? number_or(p.norm_weight, i, 1) * input_unit : 0.0f;
        bfloat16 nearest = to_bfloat16(n);
        bfloat16 *halves = pointer<bfloat16>(p.halves) + (i / 8 * 16 + i % 8);
        halves[0] = nearest;
        halves[8] = to_bfloat16(n - to_float(nearest));
    }
    if (output >= p.outputs) return;
    int bytes = p.is_int8 ? 1 : 2, in_block = 64 / bytes;
    const char *row = pointer<const char>(p.weight) + ((int64_t)(output & ~7) * p.stride * bytes + (output & 7) * p.output_step);
    float weights = 0, biases = 0;
    for (int i = lane; i < p.inputs; i += WARP) {
        const char *at = row + ((int64_t)(i / in_block) * p.block_step + i % in_block * bytes);
        float w = p.is_int8 ? byte_of_panel(at) : to_float(*(const bfloat16 *)at);
        weights = fmaf(number_or(p.norm_weight, i, 1), w, weights);
        biases = fmaf(number_or(p.norm_bias, i, 0), w, biases);
    }
    weights = warp_sum(weights);
    biases = warp_sum(biases);
    if (lane == 0) {
        pointer<float>(p.sums)[2 * output] = weights * sum_unit;
        pointer<float>(p.sums)[2 * output + 1] = biases * sum_unit;
    }
}

#endif
