// Elementwise operations and layout: bound by bytes. A thread takes 16 bytes at a time where sizes and addresses allow it,
// else an element; the grid covers everything once.
#include "device.cuh"

#define THREADS 256

INLINE int64_t thread_index() { return (int64_t)blockIdx.x * THREADS + threadIdx.x; }

// Whether everything is a multiple of a vector.
INLINE bool is_whole(uint64_t sizes_and_addresses) { return sizes_and_addresses % 16 == 0; }

template <int count> INLINE void add_at(const tti_add &p, int64_t i) {
    const element *x = pointer<const element>(p.x), *other = pointer<const element>(p.other);
    floats<count> a = load<count>(x + i), b = load<count>(other + i % p.period);
    for (int j = 0; j < count; j++) a[j] += b[j];
    store(pointer<element>(p.y) + i, a);
}

KERNEL(add, tti_add, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index();
    if (is_whole(p.x | p.y | p.other | p.period * sizeof(element))) {
        if (i * LANES < p.count) add_at<LANES>(p, i * LANES);
    } else {
        for (int64_t j = i * LANES; j < p.count && j < (i + 1) * LANES; j++) add_at<1>(p, j);
    }
}

// `other` in float: learnt positions, biases.
KERNEL(add_constant, tti_add, THREADS) {
    wait_for_inputs();
    const element *x = pointer<const element>(p.x);
    const float *other = pointer<const float>(p.other);
    int64_t i = thread_index();
    for (int64_t j = i * LANES; j < p.count && j < (i + 1) * LANES; j++) {
        assign(pointer<element>(p.y)[j], to_float(x[j]) + other[j % p.period]);
    }
}

KERNEL(activate, tti_activate, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index();
    const element *x = pointer<const element>(p.x);
    element *y = pointer<element>(p.y);
    if (is_whole(p.x | p.y | p.count * sizeof(element))) {
        if (i * LANES >= p.count) return;
        floats<LANES> v = load<LANES>(x + i * LANES);
        for (int j = 0; j < LANES; j++) v[j] = activated(v[j], p.activation);
        store(y + i * LANES, v);
    } else {
        for (int64_t j = i * LANES; j < p.count && j < (i + 1) * LANES; j++) {
            assign(y[j], activated(to_float(x[j]), p.activation));
        }
    }
}

template <int count> INLINE void gate_at(const tti_gate &p, int64_t row, int64_t column) {
    const element *x = pointer<const element>(p.x) + row * 2 * p.width + column;
    floats<count> first = load<count>(x), second = load<count>(x + p.width), y;
    for (int j = 0; j < count; j++) {
        float gate = p.gate_first ? first[j] : second[j], value = p.gate_first ? second[j] : first[j];
        y[j] = value * activated(gate, p.activation);
    }
    store(pointer<element>(p.y) + row * p.width + column, y);
}

KERNEL(gate, tti_gate, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index() * LANES;
    if (is_whole(p.x | p.y | p.width * sizeof(element))) {
        if (i < p.rows * p.width) gate_at<LANES>(p, i / p.width, i % p.width);
    } else {
        for (int64_t j = i; j < p.rows * p.width && j < i + LANES; j++) gate_at<1>(p, j / p.width, j % p.width);
    }
}

template <int count> INLINE void modulate_at(const tti_modulate &p, int64_t row, int64_t column) {
    floats<count> x = load<count>(pointer<const element>(p.x) + row * p.width + column);
    const element *modulation = pointer<const element>(p.modulation) + row / p.rows_of_entry * 2 * p.width + column;
    floats<count> scale = load<count>(modulation), shift = load<count>(modulation + p.width);
    for (int j = 0; j < count; j++) x[j] = x[j] * (1 + scale[j]) + shift[j];
    store(pointer<element>(p.y) + row * p.width + column, x);
}

KERNEL(modulate, tti_modulate, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index() * LANES;
    if (is_whole(p.x | p.y | p.modulation | p.width * sizeof(element))) {
        if (i < p.rows * p.width) modulate_at<LANES>(p, i / p.width, i % p.width);
    } else {
        for (int64_t j = i; j < p.rows * p.width && j < i + LANES; j++) modulate_at<1>(p, j / p.width, j % p.width);
    }
}

// One part of a concatenation; bytes are moved in words of 16, 4 or 2.
template <class word> INLINE void join_at(const tti_join &p, int64_t i) {
    int64_t words = p.bytes / sizeof(word), row = i / words, column = i % words;
    if (row >= p.rows) return;
    pointer<word>(p.y + p.offset + row * p.stride)[column] = pointer<const word>(p.x)[i];
}

KERNEL(join, tti_join, THREADS) {
    wait_for_inputs();
    uint64_t sizes = p.x | p.y | p.offset | p.stride | p.bytes;
    int64_t i = thread_index();
    if (sizes % 16 == 0) {
        join_at<bytes16>(p, i);
    } else if (sizes % 4 == 0) {
        for (int j = 0; j < 4; j++) join_at<uint32_t>(p, i * 4 + j);
    } else {
        for (int j = 0; j < 8; j++) join_at<uint16_t>(p, i * 8 + j);
    }
}

template <int count> INLINE void gather_at(const tti_gather &p, int64_t row, int64_t column) {
    int64_t place = pointer<const int32_t>(p.indices)[row];
    int64_t entry = row / p.count * p.batch / p.entries;
    floats<count> v;
    if (place >= 0 && place < p.tokens) {
        v = load<count>(pointer<const element>(p.x) + (entry * p.tokens + place) * p.width + column);
    } else {
        for (int j = 0; j < count; j++) v[j] = 0;
    }
    store(pointer<element>(p.y) + row * p.width + column, v);
}

KERNEL(gather, tti_gather, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index() * LANES, total = p.entries * p.count * p.width;
    if (is_whole(p.x | p.y | p.width * sizeof(element))) {
        if (i < total) gather_at<LANES>(p, i / p.width, i % p.width);
    } else {
        for (int64_t j = i; j < total && j < i + LANES; j++) gather_at<1>(p, j / p.width, j % p.width);
    }
}

template <class T> INLINE void embed_at(const tti_embed &p) {
    int64_t i = thread_index() * LANES;
    for (int64_t j = i; j < p.count * p.width && j < i + LANES; j++) {
        int64_t id = pointer<const int32_t>(p.ids)[j / p.width];
        assign(pointer<element>(p.y)[j], to_float(pointer<const T>(p.table)[id * p.width + j % p.width]));
    }
}

KERNEL(embed_float, tti_embed, THREADS) {
    wait_for_inputs();
    embed_at<float>(p);
}

KERNEL(embed_bfloat16, tti_embed, THREADS) {
    wait_for_inputs();
    embed_at<bfloat16>(p);
}

KERNEL(depth_to_space, tti_depth_to_space, THREADS) {
    wait_for_inputs();
    // `rows` of the result, each of 2 · width pixels.
    int64_t i = thread_index() * LANES, row_size = 2 * p.width * p.channels;
    for (int64_t j = i; j < p.rows * row_size && j < i + LANES; j++) {
        int64_t row = j / row_size, pixel = j % row_size / p.channels, channel = j % p.channels;
        int64_t corner = 2 * (row % 2) + pixel % 2;
        pointer<element>(p.y)[j] =
            pointer<const element>(p.x)[((row / 2 * p.width + pixel / 2) * 4 + corner) * p.channels + channel];
    }
}

KERNEL(increment, tti_increment, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index();
    if (i < p.count) pointer<int32_t>(p.counter)[i] += 1;
}

KERNEL(copy, tti_copy, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index() * 16;
    if ((p.x | p.y) % 16 == 0 && i + 16 <= p.bytes) {
        *pointer<bytes16>(p.y + i) = *pointer<const bytes16>(p.x + i);
    } else {
        for (int64_t j = i; j < p.bytes && j < i + 16; j++) *pointer<uint8_t>(p.y + j) = *pointer<const uint8_t>(p.x + j);
    }
}
