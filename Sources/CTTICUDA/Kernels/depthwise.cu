// Convolutions of each channel with its own kernel: bound by bytes. A thread makes a vector of channels of one pixel (16
// bytes of x for each tap, from the first-level cache but once), or one channel where they are no whole vectors.
#include "device.cuh"

#define THREADS 256

template <int count> INLINE void convolve_at(const tti_depthwise &p, uint32_t i) {
    uint32_t vectors = p.channels / count, pixel = i / vectors;
    int channel = i % vectors * count, column = pixel % p.width, row = pixel / p.width % p.height;
    const element *x = pointer<const element>(p.x) + (int64_t)pixel * p.channels + channel;
    const float *weight = pointer<const float>(p.weight) + channel;
    int up = p.kernel_height / 2, left = p.kernel_width / 2;
    floats<count> sums;
    for (int j = 0; j < count; j++) sums[j] = 0;
    for (int tap_row = max(0, up - row); tap_row < min(p.kernel_height, p.height + up - row); tap_row++) {
        for (int tap = max(0, left - column); tap < min(p.kernel_width, p.width + left - column); tap++) {
            int64_t offset = (int64_t)(tap_row - up) * p.width + tap - left;
            floats<count> v = load<count>(x + offset * p.channels);
            floats<count> w = load_floats<count>(weight + (tap_row * p.kernel_width + tap) * p.channels);
            for (int j = 0; j < count; j++) sums[j] += v[j] * w[j];
        }
    }
    store(pointer<element>(p.y) + (int64_t)i * count, sums);
}

KERNEL(depthwise, tti_depthwise, THREADS) {
    wait_for_inputs();
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if ((int64_t)i * LANES < p.count) convolve_at<LANES>(p, i);
}

KERNEL(depthwise_any, tti_depthwise, THREADS) {
    wait_for_inputs();
    uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i < p.count) convolve_at<1>(p, i);
}
