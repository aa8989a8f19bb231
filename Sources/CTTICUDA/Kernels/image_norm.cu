// Norms over the pixels of an image: bound by bytes, x read twice (the second time from the second-level cache where it fits)
// and y written once.
//
// Group norm, where a group of an image fits a block's registers: `group_norm_1` to `group_norm_8`, a block for a group of an
// image, which reads it once, up to 8 vectors a thread. Of larger images two kernels: `group_statistics` has a block for some
// pixels of an image, one for each multiprocessor, which reads them 16 bytes at a time, 8 of these under way in a thread; the
// last of an image's blocks joins what they found. `group_apply` goes over the image once more, a thread over 8 vectors, which
// it asks for while the last block is at work. Of channels that are no whole vectors `group_norm_any`.
// Where the convolution that made x left means and squares of parts of it, nothing but `group_apply_parts`, each of whose blocks
// joins the parts of its image; of too many for that, `group_join` instead of `group_statistics`, a block for a group of an image.
// A block's sums are of differences from one of its numbers, so that their squares are of the size of the spread; blocks are
// joined by their means and what is about them. The order is that of pixels and channels, whatever the batch.
//
// Global response norm, two kernels: `response_lengths` has a block for each 8 vectors of channels of an image,
// `response_apply` for 128 vectors of 8 pixels.
#include "partial_statistics.cuh"

#define THREADS 256
// Vectors that a thread has under way.
#define AHEAD 8

// A thread's place among those of a block, which stand side by side over the vectors of a pixel's channels (or of a group of
// them), and over as many pixels as they reach.
template <int threads> struct pixel_threads {
    int vectors, at_once, row, vector;

    INLINE_MEMBER pixel_threads(int vectors) : vectors(vectors) {
        at_once = threads / vectors;
        row = threadIdx.x / vectors;
        vector = threadIdx.x - row * vectors;
    }
    INLINE_MEMBER bool has_place() const { return row < at_once; }
};

// Asks for every at_once'th pixel from the first on, where there is one.
template <int count>
INLINE void ask(bytes16 raw[count], const bytes16 *x, int pixel, int end, int at_once, int pixel_vectors) {
#pragma unroll
    for (int i = 0; i < count; i++) {
        int own = pixel + i * at_once;
        if (own < end) raw[i] = x[(int64_t)own * pixel_vectors];
    }
}

// Where channels of the block's image begin, in x or in what is joined to it, and elements from one pixel to the next.
struct image_channels {
    const element *first;
    int stride;

    INLINE_MEMBER image_channels(const tti_group_norm &p, int channel) {
        bool is_own = channel < p.own_channels;
        stride = is_own ? p.own_channels : p.channels - p.own_channels;
        first = pointer<const element>(is_own ? p.x : p.joined) + blockIdx.y * p.pixels * stride
            + (is_own ? channel : channel - p.own_channels);
    }

    INLINE_MEMBER const element &of(int pixel) const { return first[(int64_t)pixel * stride]; }
    // Asks for every at_once'th pixel from `pixel` on, where there is one.
    template <int count> INLINE_MEMBER void ask(bytes16 raw[count], int pixel, int end, int at_once) const {
        ::ask<count>(raw, (const bytes16 *)first, pixel, end, at_once, stride / LANES);
    }
};

// y = activation((v - mean) · scale + bias); the activation is known to the compiler, or -1.
template <int activation, int count>
INLINE floats<count> normalised(
    const tti_group_norm &p, floats<count> v, const floats<count> &mean, const floats<count> &scale,
    const floats<count> &bias) {
    for (int j = 0; j < count; j++) {
        float x = (v[j] - mean[j]) * scale[j] + bias[j];
        v[j] = activation == 5 ? silu(x) : activated(x, activation < 0 ? p.activation : activation);
    }
    return v;
}

// MARK: Group norm in two kernels

#define SLICE_THREADS 512
// Threads that join what the blocks found of a group, and how many blocks each takes.
#define JOINERS 16
#define JOINED 10

INLINE float sum_of_joiners(float x) {
#pragma unroll
    for (int offset = JOINERS / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
    return x;
}

// Joins what the blocks of an image found, in one block.
INLINE void join_slices(const tti_group_norm &p, const statistics *slices) {
    int number = gridDim.x, lane = threadIdx.x % JOINERS, pixels = (int)p.pixels;
    float width = (float)(p.channels / p.groups), all = width * pixels;
    // Threads of a warp stay together, also where there is no group for some.
    for (int first = threadIdx.x / WARP * (WARP / JOINERS); first < p.groups; first += SLICE_THREADS / JOINERS) {
        int group = first + threadIdx.x % WARP / JOINERS;
        bool is_there = group < p.groups;
        statistics s[JOINED];
        float counts[JOINED], sum = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < JOINED; i++) {
            int slice = lane + i * JOINERS;
            s[i] = statistics{0, 0};
            counts[i] = 0;
            if (is_there && slice < number) {
                s[i] = slices[group * number + slice];
                counts[i] = width * min(p.pixels_of_block, pixels - slice * p.pixels_of_block);
            }
        }
#pragma unroll
        for (int i = 0; i < JOINED; i++) sum += counts[i] * s[i].mean;
        float mean = sum_of_joiners(sum) / all;
#pragma unroll
        for (int i = 0; i < JOINED; i++) {
            float difference = s[i].mean - mean;
            squares += s[i].squares + counts[i] * difference * difference;
        }
        squares = sum_of_joiners(squares);
        if (lane != 0 || !is_there) continue;
        float *result = pointer<float>(p.statistics) + 2 * (blockIdx.y * p.groups + group);
        result[0] = mean;
        result[1] = rsqrtf(squares / all + p.epsilon);
    }
}

KERNEL(group_statistics, tti_group_norm, SLICE_THREADS) {
    // Of each thread's channels; then of the block's.
    __shared__ __align__(16) float sums[SLICE_THREADS * LANES], squares[SLICE_THREADS * LANES];
    __shared__ bool is_last;
    pixel_threads<SLICE_THREADS> own(p.channels / LANES);
    int width = p.channels / p.groups, group = own.vector * LANES / width, within = own.vector * LANES - group * width;
    int first = blockIdx.x * p.pixels_of_block, end = min(first + p.pixels_of_block, (int)p.pixels);
    image_channels x(p, own.vector * LANES);
    wait_for_inputs();
    if (own.has_place()) {
        bytes16 raw[AHEAD];
        x.ask<AHEAD>(raw, first + own.row, end, own.at_once);
        // The first number that the block has of each group.
        floats<LANES> shift, sum, square;
        for (int j = 0; j < LANES; j++) {
            shift[j] = j == 0 || within == 0 ? to_float(image_channels(p, group * width).of(first)) : shift[j - 1];
            sum[j] = square[j] = 0;
            if (++within == width) {
                within = 0;
                group++;
            }
        }
        for (int pixel = first + own.row; pixel < end;) {
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                if (pixel + i * own.at_once >= end) break;
                floats<LANES> v = unpack(raw[i]);
                for (int j = 0; j < LANES; j++) {
                    float d = v[j] - shift[j];
                    sum[j] += d;
                    square[j] = fmaf(d, d, square[j]);
                }
            }
            pixel += AHEAD * own.at_once;
            x.ask<AHEAD>(raw, pixel, end, own.at_once);
        }
        int place = own.row * p.channels + own.vector * LANES;
        store_floats(sums + place, sum);
        store_floats(squares + place, square);
    }
    __syncthreads();
    // Of a channel, of all threads that had it.
    for (int i = threadIdx.x; i < 2 * p.channels; i += SLICE_THREADS) {
        float *column = i < p.channels ? sums + i : squares + i - p.channels, total = 0;
#pragma unroll 8
        for (int row = 0; row < own.at_once; row++) total += column[row * p.channels];
        *column = total;
    }
    __syncthreads();
    statistics *slices = pointer<statistics>(p.slices) + blockIdx.y * p.groups * gridDim.x;
    for (int g = threadIdx.x; g < p.groups; g += SLICE_THREADS) {
        float sum = 0, square = 0, count = (float)((end - first) * width);
        for (int i = g * width; i < (g + 1) * width; i++) {
            sum += sums[i];
            square += squares[i];
        }
        float mean = sum / count;
        slices[g * gridDim.x + blockIdx.x] =
            statistics{to_float(image_channels(p, g * width).of(first)) + mean, fmaxf(0.0f, square - sum * mean)};
    }
    __syncthreads();
    if (threadIdx.x == 0) is_last = is_last_block(pointer<int32_t>(p.counters) + blockIdx.y, gridDim.x);
    __syncthreads();
    if (!is_last) return;
    join_slices(p, slices);
}

// `statistics`: the mean and 1 / deviation of each group of the block's image.
template <int activation>
INLINE void apply_statistics(
    const tti_group_norm &p, const pixel_threads<THREADS> &own, const bytes16 raw[AHEAD], int pixel, int end,
    const float *statistics, floats<LANES> scale, const floats<LANES> &bias) {
    int width = p.channels / p.groups, channel = own.vector * LANES;
    int group = channel / width, within = channel - group * width;
    floats<LANES> mean;
    for (int j = 0; j < LANES; j++) {
        mean[j] = statistics[2 * group];
        scale[j] *= statistics[2 * group + 1];
        if (++within == width) {
            within = 0;
            group++;
        }
    }
    bytes16 *y = pointer<bytes16>(p.y) + blockIdx.y * p.pixels * own.vectors + own.vector;
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        int at = pixel + i * own.at_once;
        if (at >= end) break;
        store((element *)(y + (int64_t)at * own.vectors),
              normalised<activation, LANES>(p, unpack(raw[i]), mean, scale, bias));
    }
}

KERNEL_RESIDENT(group_apply, tti_group_norm, THREADS, 3) {
    pixel_threads<THREADS> own(p.channels / LANES);
    int pixel = blockIdx.x * p.pixels_of_block + own.row;
    int end = own.has_place() ? min((int)(blockIdx.x + 1) * p.pixels_of_block, (int)p.pixels) : 0;
    bytes16 raw[AHEAD];
    // The kernel before this one is group_statistics or group_join, which let this one begin when they had x before them.
    image_channels(p, own.vector * LANES).ask<AHEAD>(raw, pixel, end, own.at_once);
    floats<LANES> weight = load_floats<LANES>(pointer<const float>(p.weight) + own.vector * LANES);
    floats<LANES> bias = load_floats<LANES>(pointer<const float>(p.bias) + own.vector * LANES);
    wait_for_inputs();
    if (pixel >= end) return;
    const float *statistics = pointer<const float>(p.statistics) + 2 * (blockIdx.y * p.groups);
    switch (p.activation) {
    case 0: return apply_statistics<0>(p, own, raw, pixel, end, statistics, weight, bias);
    case 5: return apply_statistics<5>(p, own, raw, pixel, end, statistics, weight, bias);
    default: return apply_statistics<-1>(p, own, raw, pixel, end, statistics, weight, bias);
    }
}

// MARK: Group norm behind a convolution

// Threads of a block of group_apply_parts that join what there is of a group.
#define PART_JOINERS 8

// Of a group of the block's image: differences from one of its numbers, added up, and their squares.
struct group_sums {
    float shift, sum, squares;

    // What one of `joiners` threads adds up: half of them have the even slabs of channels, half of them the odd ones.
    template <int joiners> INLINE_MEMBER void add_parts(const tti_partial_statistics &p, int group, int joiner) {
        const statistics *image = pointer<const statistics>(p.parts) + (int64_t)blockIdx.y * p.boxes * p.parts_of_box;
        int begin = group * p.group_width, end = begin + p.group_width;
        shift = image[part_of(group, begin / TTI_PART_CHANNELS)].mean;
        for (int slab = begin / TTI_PART_CHANNELS + joiner % 2; slab * TTI_PART_CHANNELS < end; slab += 2) {
            int first = slab * TTI_PART_CHANNELS;
            float channels = (float)(min(end, first + TTI_PART_CHANNELS) - max(begin, first));
            const statistics *parts = image + part_of(group, slab);
            for (int box = joiner / 2; box < p.boxes; box += AHEAD * joiners / 2) {
                statistics found[AHEAD];
#pragma unroll
                for (int i = 0; i < AHEAD; i++) {
                    int own = box + i * joiners / 2;
                    if (own < p.boxes) found[i] = parts[(int64_t)own * p.parts_of_box];
                }
#pragma unroll
                for (int i = 0; i < AHEAD; i++) {
                    int own = box + i * joiners / 2;
                    if (own >= p.boxes) break;
                    float count = channels * pixels_of_box(p, own), d = found[i].mean - shift;
                    sum += count * d;
                    squares += found[i].squares + count * d * d;
                }
            }
        }
    }

    // Leaves mean and 1 / deviation.
    INLINE_MEMBER void finish(const tti_group_norm &p, float *result) const {
        float all = (float)p.partial.group_width * (int)p.pixels, mean = sum / all;
        result[0] = shift + mean;
        result[1] = rsqrtf(fmaxf(0.0f, squares - sum * mean) / all + p.epsilon);
    }
};

KERNEL(group_join, tti_group_norm, THREADS) {
    wait_for_inputs();
    group_sums sums{0, 0, 0};
    sums.add_parts<THREADS>(p.partial, blockIdx.x, threadIdx.x);
    sums.sum = block_sum(sums.sum);
    sums.squares = block_sum(sums.squares);
    if (threadIdx.x == 0) sums.finish(p, pointer<float>(p.statistics) + 2 * (blockIdx.y * p.groups + blockIdx.x));
}

// Joining takes registers: two blocks a multiprocessor.
KERNEL_RESIDENT(group_apply_parts, tti_group_norm, THREADS, 2) {
    __shared__ float found[2 * TTI_MOST_JOINED_GROUPS];
    pixel_threads<THREADS> own(p.channels / LANES);
    int pixel = blockIdx.x * p.pixels_of_block + own.row;
    int end = own.has_place() ? min((int)(blockIdx.x + 1) * p.pixels_of_block, (int)p.pixels) : 0;
    const bytes16 *x = pointer<const bytes16>(p.x) + blockIdx.y * p.pixels * own.vectors + own.vector;
    floats<LANES> weight = load_floats<LANES>(pointer<const float>(p.weight) + own.vector * LANES);
    floats<LANES> bias = load_floats<LANES>(pointer<const float>(p.bias) + own.vector * LANES);
    wait_for_inputs();
    bytes16 raw[AHEAD];
    ask<AHEAD>(raw, x, pixel, end, own.at_once, own.vectors);
    // Threads of a warp stay together, also where there is no group for some.
    for (int first = threadIdx.x / WARP * (WARP / PART_JOINERS); first < p.groups; first += THREADS / PART_JOINERS) {
        int group = first + threadIdx.x % WARP / PART_JOINERS;
        group_sums sums{0, 0, 0};
        if (group < p.groups) sums.add_parts<PART_JOINERS>(p.partial, group, threadIdx.x % PART_JOINERS);
#pragma unroll
        for (int offset = PART_JOINERS / 2; offset > 0; offset /= 2) {
            sums.sum += __shfl_xor_sync(ALL_LANES, sums.sum, offset);
            sums.squares += __shfl_xor_sync(ALL_LANES, sums.squares, offset);
        }
        if (group < p.groups && threadIdx.x % PART_JOINERS == 0) sums.finish(p, found + 2 * group);
    }
    __syncthreads();
    if (pixel >= end) return;
    switch (p.activation) {
    case 0: return apply_statistics<0>(p, own, raw, pixel, end, found, weight, bias);
    case 5: return apply_statistics<5>(p, own, raw, pixel, end, found, weight, bias);
    default: return apply_statistics<-1>(p, own, raw, pixel, end, found, weight, bias);
    }
}

// MARK: Group norm in one kernel

#define GROUP_THREADS 512

template <int activation, int held>
INLINE void finish_group(
    const tti_group_norm &p, const pixel_threads<GROUP_THREADS> &own, const bytes16 raw[held], float mean, float inverse,
    floats<LANES> weight, const floats<LANES> &bias, bytes16 *y) {
    floats<LANES> means;
    for (int j = 0; j < LANES; j++) {
        weight[j] *= inverse;
        means[j] = mean;
    }
#pragma unroll
    for (int i = 0; i < held; i++) {
        int at = own.row + i * own.at_once;
        if (at >= (int)p.pixels) break;
        store((element *)(y + (int64_t)at * (p.channels / LANES)),
              normalised<activation, LANES>(p, unpack(raw[i]), means, weight, bias));
    }
}

// The group in registers; its width is whole vectors.
template <int held> INLINE void norm_group(const tti_group_norm &p) {
    int width = p.channels / p.groups, pixel_vectors = p.channels / LANES, pixels = (int)p.pixels;
    pixel_threads<GROUP_THREADS> own(width / LANES);
    int channel = blockIdx.x * width + own.vector * LANES, end = own.has_place() ? pixels : 0;
    int64_t offset = blockIdx.y * p.pixels * pixel_vectors + channel / LANES;
    wait_for_inputs();
    bytes16 raw[held];
    image_channels(p, channel).ask<held>(raw, own.row, end, own.at_once);
    floats<LANES> weight = load_floats<LANES>(pointer<const float>(p.weight) + channel);
    floats<LANES> bias = load_floats<LANES>(pointer<const float>(p.bias) + channel);
    // About the first number, so that a sum is of the size of the spread.
    float shift = to_float(image_channels(p, blockIdx.x * width).of(0)), all = (float)pixels * width, sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < held; i++) {
        if (own.row + i * own.at_once >= end) break;
        floats<LANES> v = unpack(raw[i]);
        for (int j = 0; j < LANES; j++) sum += v[j] - shift;
    }
    float mean = shift + block_sum(sum) / all;
#pragma unroll
    for (int i = 0; i < held; i++) {
        if (own.row + i * own.at_once >= end) break;
        floats<LANES> v = unpack(raw[i]);
        for (int j = 0; j < LANES; j++) squares = fmaf(v[j] - mean, v[j] - mean, squares);
    }
    float inverse = rsqrtf(block_sum(squares) / all + p.epsilon);
    if (!own.has_place()) return;
    bytes16 *y = pointer<bytes16>(p.y) + offset;
    switch (p.activation) {
    case 0: return finish_group<0, held>(p, own, raw, mean, inverse, weight, bias, y);
    case 5: return finish_group<5, held>(p, own, raw, mean, inverse, weight, bias, y);
    default: return finish_group<-1, held>(p, own, raw, mean, inverse, weight, bias, y);
    }
}

KERNEL(group_norm_1, tti_group_norm, GROUP_THREADS) { norm_group<1>(p); }
KERNEL(group_norm_2, tti_group_norm, GROUP_THREADS) { norm_group<2>(p); }
KERNEL(group_norm_4, tti_group_norm, GROUP_THREADS) { norm_group<4>(p); }
KERNEL(group_norm_8, tti_group_norm, GROUP_THREADS) { norm_group<8>(p); }

// Channels and addresses of any kind: an element at a time, read three times.
KERNEL(group_norm_any, tti_group_norm, GROUP_THREADS) {
    wait_for_inputs();
    int width = p.channels / p.groups, group = blockIdx.x, number = (int)p.pixels * width;
    auto x = [&](int i) { return to_float(image_channels(p, group * width + i % width).of(i / width)); };
    float sum = 0, squares = 0, shift = x(0);
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        sum += x(i) - shift;
    }
    float mean = shift + block_sum(sum) / number;
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        float d = x(i) - mean;
        squares += d * d;
    }
    float scale = rsqrtf(block_sum(squares) / number + p.epsilon);
    const float *weight = pointer<const float>(p.weight) + group * width;
    const float *bias = pointer<const float>(p.bias) + group * width;
    element *y = pointer<element>(p.y) + blockIdx.y * p.pixels * p.channels + group * width;
#pragma unroll 4
    for (int i = threadIdx.x; i < number; i += GROUP_THREADS) {
        int column = i % width;
        int64_t place = (int64_t)(i / width) * p.channels + column;
        float v = (x(i) - mean) * (scale * weight[column]) + bias[column];
        assign(y[place], activated(v, p.activation));
    }
}

// MARK: Global response norm

// Vectors of channels of a block that measures; threads of one that applies.
#define RESPONSE_VECTORS 8
#define RESPONSE_THREADS 128

// The length of each channel over the pixels; RESPONSE_VECTORS threads side by side, AHEAD pixels of each under way.
template <int count> INLINE void measure_responses(const tti_response_norm &p) {
    const int rows = THREADS / RESPONSE_VECTORS;
    __shared__ float parts[rows][RESPONSE_VECTORS * count];
    int column = threadIdx.x % RESPONSE_VECTORS * count, row = threadIdx.x / RESPONSE_VECTORS;
    int channel = blockIdx.x * RESPONSE_VECTORS * count + column;
    const element *x = pointer<const element>(p.x) + (int64_t)blockIdx.y * p.pixels * p.channels + channel;
    floats<count> squares;
    for (int j = 0; j < count; j++) squares[j] = 0;
    if (channel < p.channels) {
        for (int64_t pixel = row; pixel < p.pixels; pixel += rows * AHEAD) {
            floats<count> v[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                for (int j = 0; j < count; j++) v[i][j] = 0;
                if (pixel + i * rows < p.pixels) v[i] = load<count>(x + (pixel + i * rows) * p.channels);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                for (int j = 0; j < count; j++) squares[j] += v[i][j] * v[i][j];
            }
        }
    }
    for (int j = 0; j < count; j++) parts[row][column + j] = squares[j];
    __syncthreads();
    int first = blockIdx.x * RESPONSE_VECTORS * count;
    for (int i = threadIdx.x; i < RESPONSE_VECTORS * count && first + i < p.channels; i += THREADS) {
        float sum = 0;
#pragma unroll
        for (int r = 0; r < rows; r++) sum += parts[r][i];
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

// A thread has a vector of channels, of AHEAD pixels at a time.
template <int count> INLINE void apply_responses(const tti_response_norm &p) {
    int channel = (blockIdx.x * RESPONSE_THREADS + threadIdx.x) * count;
    bool is_there = channel < p.channels;
    floats<count> factor, beta;
    if (is_there) {
        factor = load_floats<count>(pointer<const float>(p.gamma) + channel);
        beta = load_floats<count>(pointer<const float>(p.beta) + channel);
    }
    wait_for_inputs();
    const float *lengths = pointer<const float>(p.lengths) + (int64_t)blockIdx.z * p.channels;
    const element *x = pointer<const element>(p.x) + (int64_t)blockIdx.z * p.pixels * p.channels + channel;
    element *y = pointer<element>(p.y) + (int64_t)blockIdx.z * p.pixels * p.channels + channel;
    int64_t first = (int64_t)blockIdx.y * AHEAD, step = (int64_t)gridDim.y * AHEAD;
    floats<count> v[AHEAD];
    auto ask = [&](int64_t pixel) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (is_there && pixel + i < p.pixels) v[i] = load<count>(x + (pixel + i) * p.channels);
        }
    };
    ask(first);
    // Four sums of their own, so that their loads are under way together.
    float sums[4] = {0, 0, 0, 0};
    for (int i = threadIdx.x; i < p.channels; i += 4 * RESPONSE_THREADS) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (i + j * RESPONSE_THREADS < p.channels) sums[j] += lengths[i + j * RESPONSE_THREADS];
        }
    }
    float mean = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3])) / p.channels + 1e-6f;
    if (!is_there) return;
    floats<count> length = load_floats<count>(lengths + channel);
    for (int j = 0; j < count; j++) factor[j] = factor[j] * (length[j] / mean) + 1;
    for (int64_t pixel = first; pixel < p.pixels; pixel += step) {
        if (pixel != first) ask(pixel);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (pixel + i >= p.pixels) continue;
            for (int j = 0; j < count; j++) v[i][j] = v[i][j] * factor[j] + beta[j];
            store(y + (pixel + i) * p.channels, v[i]);
        }
    }
}

KERNEL(response_apply, tti_response_norm, RESPONSE_THREADS) { apply_responses<LANES>(p); }
KERNEL(response_apply_any, tti_response_norm, RESPONSE_THREADS) { apply_responses<1>(p); }
