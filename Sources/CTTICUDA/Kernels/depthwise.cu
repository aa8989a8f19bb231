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

// A kernel of 3×3: weights are asked for before the inputs are there, and all taps at once.
KERNEL(depthwise_3x3, tti_depthwise, THREADS) {
    uint32_t i = blockIdx.x * THREADS + threadIdx.x, vectors = p.channels / LANES, pixel = i / vectors;
    bool is_there = (int64_t)i * LANES < p.count;
    int channel = i % vectors * LANES, column = pixel % p.width, row = pixel / p.width % p.height;
    floats<LANES> weight[9];
#pragma unroll
    for (int tap = 0; tap < 9; tap++) {
        if (is_there) weight[tap] = load_floats<LANES>(pointer<const float>(p.weight) + tap * p.channels + channel);
    }
    wait_for_inputs();
    if (!is_there) return;
    const element *x = pointer<const element>(p.x) + (int64_t)pixel * p.channels + channel;
    bytes16 packed[9];
#pragma unroll
    for (int tap = 0; tap < 9; tap++) {
        int down = tap / 3 - 1, across = tap % 3 - 1;
        bool is_inside = (unsigned)(row + down) < (unsigned)p.height && (unsigned)(column + across) < (unsigned)p.width;
        packed[tap] = {0, 0, 0, 0};
        if (is_inside) packed[tap] = *(const bytes16 *)(x + ((int64_t)down * p.width + across) * p.channels);
    }
    floats<LANES> sums;
    for (int j = 0; j < LANES; j++) sums[j] = 0;
#pragma unroll
    for (int tap = 0; tap < 9; tap++) {
        floats<LANES> v = unpack(packed[tap]);
        for (int j = 0; j < LANES; j++) sums[j] += v[j] * weight[tap][j];
    }
    store(pointer<element>(p.y) + (int64_t)i * LANES, sums);
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
