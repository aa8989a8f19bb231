// One step of diffusion. Bound by nothing: a hundred multiply-adds for each of a few ten thousand latents. A thread takes one
// element and reads all that it needs before it writes, so that everything can be changed in place.
#include "device.cuh"

#define THREADS 256

// T: float, or elements of an output that was not guided.
template <class T> INLINE void combine_at(const tti_combine &p) {
    wait_for_inputs();
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    const int rows = 2 + p.kept, columns = 4 + p.kept;
    int64_t step = *pointer<const int32_t>(p.position);
    const float *weights = pointer<const float>(p.weights) + step * rows * columns;
    float *latents = pointer<float>(p.latents);
    float x[4 + TTI_MOST_KEPT];
    x[0] = latents[i];
    x[1] = to_float(pointer<const T>(p.output)[i]);
    x[2] = 0;
    x[3] = p.noise ? pointer<const float>(p.noise)[step * p.count + i] : 0;
#pragma unroll
    for (int slot = 0; slot < TTI_MOST_KEPT; slot++) {
        x[4 + slot] = slot < p.kept ? latents[(2 + slot) * p.count + i] : 0;
    }
    auto sum_of = [&](int row) {
        float sum = 0;
#pragma unroll
        for (int column = 0; column < 4 + TTI_MOST_KEPT; column++) {
            if (column < columns) sum += weights[row * columns + column] * x[column];
        }
        return sum;
    };
    // Comparisons, not fminf and fmaxf, which would hide what is not a number.
    float predicted = sum_of(0);
    predicted = predicted < -p.limit ? -p.limit : predicted;
    x[2] = predicted > p.limit ? p.limit : predicted;
    float sample = sum_of(1);
    if (p.mask) {
        float share = pointer<const float>(p.mask)[i / p.channels];
        const float *picture = pointer<const float>(p.picture), *of_picture = pointer<const float>(p.picture_weights);
        float known = of_picture[2 * step] * picture[i] + of_picture[2 * step + 1] * picture[p.count + i];
        sample = share * sample + (1 - share) * known;
    }
    latents[i] = sample;
    latents[p.count + i] = x[2];
    for (int slot = 0; slot < p.kept; slot++) latents[(2 + slot) * p.count + i] = sum_of(2 + slot);
    assign(pointer<element>(p.input)[i], pointer<const float>(p.input_scale)[step] * sample);
}

KERNEL(combine, tti_combine, THREADS) { combine_at<element>(p); }
#ifdef TTI_BF16
KERNEL(combine_float, tti_combine, THREADS) { combine_at<float>(p); }
#endif
