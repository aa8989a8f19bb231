// Norms over the pixels of an image: bound by bytes, x read twice (from the second-level cache where it fits) and y written
// once.
//
// Group norm of large images, two kernels: `group_statistics` has a block for each slice of the pixels of an image, which
// reads whole pixels 16 bytes at a time; the last of an image's blocks joins the slices. `group_apply` goes over the image
// once more. Of small images, and of channels that are no whole vectors, `group_norm`: a block for a group of an image, which
// reads it three times. Statistics are means and squares about them, joined without differences of large numbers: their
// order is that of slices, threads and channels, whatever the batch.
//
// Global response norm, two kernels: `response_squares` has a block for each 16 vectors of channels of an image,
// `response_apply` for some pixels.
#include "device.cuh"

#define THREADS 256

// Numbers seen so far: how many, their mean, the sum of squares about it.
struct statistics {
    float count, mean, squares;
};

// Those of `number` parts, by one warp. The mean first, then what is about it.
template <class Part> INLINE statistics join_parts(int number, const Part &part) {
    int lane = threadIdx.x % WARP;
    float count = 0, sum = 0, squares = 0;
    for (int i = lane; i < number; i += WARP) {
        statistics s = part(i);
        count += s.count;
        sum += s.count * s.mean;
    }
    count = warp_sum(count);
    float mean = warp_sum(sum) / count;
    for (int i = lane; i < number; i += WARP) {
        statistics s = part(i);
        float difference = s.count > 0 ? s.mean - mean : 0.0f;
        squares += s.squares + s.count * difference * difference;
    }
    return statistics{count, mean, warp_sum(squares)};
}

// MARK: Group norm in two kernels

// The pixels of a slice.
INLINE void slice_of(const tti_group_norm &p, int64_t &first, int64_t &end) {
    first = p.pixels * blockIdx.x / gridDim.x;
    end = p.pixels * (blockIdx.x + 1) / gridDim.x;
}

KERNEL(group_statistics, tti_group_norm, THREADS) {
    __shared__ statistics parts[THREADS * LANES];
    __shared__ bool is_last;
    wait_for_inputs();
    // Threads stand side by side over a pixel's vectors, and over as many pixels as they reach.
    int vectors = p.channels / LANES, at_once = THREADS / vectors;
    int row = threadIdx.x / vectors, column = threadIdx.x % vectors * LANES;
    int64_t first, end;
    slice_of(p, first, end);
    const element *x = pointer<const element>(p.x) + (int64_t)blockIdx.y * p.pixels * p.channels + column;
    if (row < at_once) {
        // Differences from the first number: sums of their squares are of the size of the spread.
        floats<LANES> shift, sums, squares;
        for (int j = 0; j < LANES; j++) shift[j] = sums[j] = squares[j] = 0;
        if (first + row < end) shift = load<LANES>(x + (first + row) * p.channels);
        int count = 0;
#pragma unroll 4
        for (int64_t pixel = first + row; pixel < end; pixel += at_once) {
            floats<LANES> v = load<LANES>(x + pixel * p.channels);
            for (int j = 0; j < LANES; j++) {
                float d = v[j] - shift[j];
                sums[j] += d;
                squares[j] += d * d;
            }
            count++;
        }
        float inverse = count > 0 ? 1.0f / count : 0.0f;
        for (int j = 0; j < LANES; j++) {
            float mean = sums[j] * inverse;
            parts[row * p.channels + column + j] =
                statistics{(float)count, shift[j] + mean, fmaxf(0.0f, squares[j] - sums[j] * mean)};
        }
    }
    __syncthreads();
    int width = p.channels / p.groups, warp = threadIdx.x / WARP;
    statistics *slices = pointer<statistics>(p.slices) + (int64_t)blockIdx.y * p.groups * gridDim.x;
    for (int group = warp; group < p.groups; group += THREADS / WARP) {
        statistics s = join_parts(at_once * width, [&](int i) {
            return parts[i / width * p.channels + group * width + i % width];
        });
        if (threadIdx.x % WARP == 0) slices[group * gridDim.x + blockIdx.x] = s;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned *counter = pointer<unsigned>(p.counters) + blockIdx.y;
        is_last = atomicAdd(counter, 1u) == gridDim.x - 1;
        if (is_last) *counter = 0;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    for (int group = warp; group < p.groups; group += THREADS / WARP) {
        statistics s = join_parts((int)gridDim.x, [&](int i) { return slices[group * gridDim.x + i]; });
        if (threadIdx.x % WARP != 0) continue;
        float *result = pointer<float>(p.statistics) + 2 * ((int64_t)blockIdx.y * p.groups + group);
        result[0] = s.mean;
        result[1] = rsqrtf(s.squares / s.count + p.epsilon);
    }
}

KERNEL(group_apply, tti_group_norm, THREADS) {
    wait_for_inputs();
    int vectors = p.channels / LANES, at_once = THREADS / vectors, width = p.channels / p.groups;
    int row = threadIdx.x / vectors, column = threadIdx.x % vectors * LANES;
    if (row >= at_once) return;
    int64_t first, end;
    slice_of(p, first, end);
    const float *statistics = pointer<const float>(p.statistics) + 2 * (int64_t)blockIdx.y * p.groups;
    floats<LANES> mean, scale, bias;
    for (int j = 0; j < LANES; j++) {
        const float *own = statistics + 2 * ((column + j) / width);
        mean[j] = own[0];
        scale[j] = own[1] * pointer<const float>(p.weight)[column + j];
        bias[j] = pointer<const float>(p.bias)[column + j];
    }
    int64_t offset = (int64_t)blockIdx.y * p.pixels * p.channels + column;
    const element *x = pointer<const element>(p.x) + offset;
    element *y = pointer<element>(p.y) + offset;
#pragma unroll 4
    for (int64_t pixel = first + row; pixel < end; pixel += at_once) {
        floats<LANES> v = load<LANES>(x + pixel * p.channels);
        for (int j = 0; j < LANES; j++) v[j] = activated((v[j] - mean[j]) * scale[j] + bias[j], p.activation);
        store(y + pixel * p.channels, v);
    }
}

// MARK: Group norm in one kernel

#define GROUP_THREADS 512

// `count` channels at a time.
template <int count> INLINE void normalise_group(const tti_group_norm &p) {
    int width = p.channels / p.groups, vectors = width / count, group = blockIdx.x;
    int64_t offset = (int64_t)blockIdx.y * p.pixels * p.channels + group * width;
    const element *x = pointer<const element>(p.x) + offset;
    int number = (int)p.pixels * vectors;
    float sum = 0, squares = 0;
    // About the first number, so that a sum is of the size of the spread.
    float shift = to_float(x[0]);
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        floats<count> v = load<count>(x + (int64_t)(i / vectors) * p.channels + i % vectors * count);
        for (int j = 0; j < count; j++) sum += v[j] - shift;
    }
    float mean = shift + block_sum(sum) / ((float)number * count);
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        floats<count> v = load<count>(x + (int64_t)(i / vectors) * p.channels + i % vectors * count);
        for (int j = 0; j < count; j++) squares += (v[j] - mean) * (v[j] - mean);
    }
    float scale = rsqrtf(block_sum(squares) / ((float)number * count) + p.epsilon);
    const float *weight = pointer<const float>(p.weight) + group * width;
    const float *bias = pointer<const float>(p.bias) + group * width;
    element *y = pointer<element>(p.y) + offset;
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        int column = i % vectors * count;
        int64_t place = (int64_t)(i / vectors) * p.channels + column;
        floats<count> v = load<count>(x + place);
        for (int j = 0; j < count; j++) {
            v[j] = activated((v[j] - mean) * (scale * weight[column + j]) + bias[column + j], p.activation);
        }
        store(y + place, v);
    }
}

KERNEL(group_norm, tti_group_norm, GROUP_THREADS) {
    wait_for_inputs();
    normalise_group<LANES>(p);
}

KERNEL(group_norm_any, tti_group_norm, GROUP_THREADS) {
    wait_for_inputs();
    normalise_group<1>(p);
}

// MARK: Global response norm

// Vectors of channels of a block.
#define RESPONSE_VECTORS 16

// The length of each channel over the pixels; 16 threads side by side, 16 pixels at a time.
template <int count> INLINE void measure_responses(const tti_response_norm &p) {
    __shared__ float parts[THREADS / RESPONSE_VECTORS][RESPONSE_VECTORS * count];
    int column = threadIdx.x % RESPONSE_VECTORS * count, row = threadIdx.x / RESPONSE_VECTORS;
    int channel = blockIdx.x * RESPONSE_VECTORS * count + column;
    const element *x = pointer<const element>(p.x) + (int64_t)blockIdx.y * p.pixels * p.channels + channel;
    floats<count> squares;
    for (int j = 0; j < count; j++) squares[j] = 0;
    if (channel < p.channels) {
#pragma unroll 4
        for (int64_t pixel = row; pixel < p.pixels; pixel += THREADS / RESPONSE_VECTORS) {
            floats<count> v = load<count>(x + pixel * p.channels);
            for (int j = 0; j < count; j++) squares[j] += v[j] * v[j];
        }
    }
    for (int j = 0; j < count; j++) parts[row][column + j] = squares[j];
    __syncthreads();
    int first = blockIdx.x * RESPONSE_VECTORS * count;
    for (int i = threadIdx.x; i < RESPONSE_VECTORS * count && first + i < p.channels; i += THREADS) {
        float sum = 0;
        for (int r = 0; r < THREADS / RESPONSE_VECTORS; r++) sum += parts[r][i];
        pointer<float>(p.lengths)[(int64_t)blockIdx.y * p.channels + first + i] = sqrtf(sum);
    }
}

KERNEL(response_lengths, tti_response_norm, THREADS) {
    wait_for_inputs();
    measure_responses<LANES>(p);
}

KERNEL(response_lengths_any, tti_response_norm, THREADS) {
    wait_for_inputs();
    measure_responses<1>(p);
}

template <int count> INLINE void apply_responses(const tti_response_norm &p) {
    const float *lengths = pointer<const float>(p.lengths) + (int64_t)blockIdx.y * p.channels;
    float sum = 0;
    for (int i = threadIdx.x; i < p.channels; i += THREADS) sum += lengths[i];
    float mean = block_sum(sum) / p.channels + 1e-6f;
    int64_t image = (int64_t)blockIdx.y * p.pixels * p.channels, vectors = p.channels / count;
    int64_t first = p.pixels * blockIdx.x / gridDim.x * vectors, end = p.pixels * (blockIdx.x + 1) / gridDim.x * vectors;
    for (int64_t i = first + threadIdx.x; i < end; i += THREADS) {
        int channel = i % vectors * count;
        floats<count> v = load<count>(pointer<const element>(p.x) + image + i * count);
        floats<count> length = load_floats<count>(lengths + channel);
        floats<count> gamma = load_floats<count>(pointer<const float>(p.gamma) + channel);
        floats<count> beta = load_floats<count>(pointer<const float>(p.beta) + channel);
        for (int j = 0; j < count; j++) v[j] = gamma[j] * (v[j] * (length[j] / mean)) + beta[j] + v[j];
        store(pointer<element>(p.y) + image + i * count, v);
    }
}

KERNEL(response_apply, tti_response_norm, THREADS) {
    wait_for_inputs();
    apply_responses<LANES>(p);
}

KERNEL(response_apply_any, tti_response_norm, THREADS) {
    wait_for_inputs();
    apply_responses<1>(p);
}
