// Elementwise operations and layout: bound by bytes. A thread takes 16 bytes at a time where sizes and addresses allow it,
// else an element; the grid covers everything once. Places are counted in 32 bits where they fit: a division of 64 bits takes
// longer than the memory.
#include "device.cuh"

#define THREADS 256

INLINE int64_t thread_index() { return (int64_t)blockIdx.x * THREADS + threadIdx.x; }

// Whether everything is a multiple of a vector.
INLINE bool is_whole(uint64_t sizes_and_addresses) { return sizes_and_addresses % 16 == 0; }

// Does body(first, end) for this thread's LANES elements of `total`, counted in a type that also takes `largest`.
template <class Body> INLINE void in_small_numbers(int64_t total, int64_t largest, const Body &body) {
    int64_t first = thread_index() * LANES;
    if (first >= total) return;
    int64_t end = first + LANES < total ? first + LANES : total;
    if ((total | largest) < (int64_t)1 << 31) {
        body((uint32_t)first, (uint32_t)end);
    } else {
        body((uint64_t)first, (uint64_t)end);
    }
}

template <int count> INLINE void add_at(const tti_add &p, int64_t i, int64_t place) {
    floats<count> a = load<count>(pointer<const element>(p.x) + i), b = load<count>(pointer<const element>(p.other) + place);
    for (int j = 0; j < count; j++) a[j] += b[j];
    store(pointer<element>(p.y) + i, a);
}

KERNEL(add, tti_add, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.count, p.period, [&](auto i, auto end) {
        decltype(i) period = p.period;
        if (is_whole(p.x | p.y | p.other | p.period * sizeof(element))) {
            add_at<LANES>(p, i, i % period);
        } else {
            for (; i < end; i++) add_at<1>(p, i, i % period);
        }
    });
}

// `other` in float: learnt positions, biases.
template <int count> INLINE void add_constant_at(const tti_add &p, int64_t i, int64_t place) {
    floats<count> a = load<count>(pointer<const element>(p.x) + i);
    floats<count> b = load_floats<count>(pointer<const float>(p.other) + place);
    for (int j = 0; j < count; j++) a[j] += b[j];
    store(pointer<element>(p.y) + i, a);
}

KERNEL(add_constant, tti_add, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.count, p.period, [&](auto i, auto end) {
        decltype(i) period = p.period;
        if (is_whole(p.x | p.y | p.other | p.period * sizeof(element))) {
            add_constant_at<LANES>(p, i, i % period);
        } else {
            for (; i < end; i++) add_constant_at<1>(p, i, i % period);
        }
    });
}

KERNEL(activate, tti_activate, THREADS) {
    wait_for_inputs();
    int64_t i = thread_index();
    const element *x = pointer<const element>(p.x);
    element *y = pointer<element>(p.y);
    if (is_whole(p.x | p.y | p.count * sizeof(element))) {
        if (i * LANES >= p.count) return;
        floats<LANES> v = load<LANES>(x + i * LANES);
        activate(v, p.activation);
        store(y + i * LANES, v);
    } else {
        for (int64_t j = i * LANES; j < p.count && j < (i + 1) * LANES; j++) {
            assign(y[j], activated(to_float(x[j]), p.activation));
        }
    }
}

template <int count> INLINE void gate_at(const tti_gate &p, int64_t row, int64_t column) {
    const element *x = pointer<const element>(p.x) + row * 2 * p.width + column;
    floats<count> gate = load<count>(p.gate_first ? x : x + p.width), y = load<count>(p.gate_first ? x + p.width : x);
    activate(gate, p.activation);
    for (int j = 0; j < count; j++) y[j] *= gate[j];
    store(pointer<element>(p.y) + row * p.width + column, y);
}

KERNEL(gate, tti_gate, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.rows * p.width, 0, [&](auto i, auto end) {
        decltype(i) width = p.width;
        if (is_whole(p.x | p.y | p.width * sizeof(element))) {
            gate_at<LANES>(p, i / width, i % width);
        } else {
            for (; i < end; i++) gate_at<1>(p, i / width, i % width);
        }
    });
}

// `count` elements of whole pairs, of a row at a column.
template <int count> INLINE void rotate_at(const tti_rotate &p, int first_place, int64_t row, int column) {
    int third = p.heads * p.width;
    const element *x = pointer<const element>(p.x) + row * 3 * third + column;
    floats<count> y = load<count>(x);
    if (column < 2 * third) {
        int64_t place = first_place + row % p.tokens;
        floats<count> turn = load_floats<count>(pointer<const float>(p.angles) + place * p.width + column % p.width);
        for (int j = 0; j < count; j += 2) {
            float a = y[j], b = y[j + 1];
            y[j] = a * turn[j] - b * turn[j + 1];
            y[j + 1] = b * turn[j] + a * turn[j + 1];
        }
    }
    store(pointer<element>(p.y) + row * 3 * third + column, y);
}

KERNEL(rotate, tti_rotate, THREADS) {
    wait_for_inputs();
    int first_place = *pointer<const int32_t>(p.position);
    in_small_numbers(p.rows * 3 * p.heads * p.width, 0, [&](auto i, auto end) {
        decltype(i) width = 3 * p.heads * p.width;
        if (is_whole(p.x | p.y | p.angles | p.width * sizeof(element))) {
            rotate_at<LANES>(p, first_place, i / width, i % width);
        } else {
            for (; i < end; i += 2) rotate_at<2>(p, first_place, i / width, i % width);
        }
    });
}

template <int count> INLINE void modulate_at(const tti_modulate &p, int64_t row, int64_t entry, int64_t column) {
    floats<count> x = load<count>(pointer<const element>(p.x) + row * p.width + column);
    const element *modulation = pointer<const element>(p.modulation) + entry * 2 * p.width + column;
    floats<count> scale = load<count>(modulation), shift = load<count>(modulation + p.width);
    for (int j = 0; j < count; j++) x[j] = x[j] * (1 + scale[j]) + shift[j];
    store(pointer<element>(p.y) + row * p.width + column, x);
}

KERNEL(modulate, tti_modulate, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.rows * p.width, p.rows_of_entry, [&](auto i, auto end) {
        decltype(i) width = p.width, rows = p.rows_of_entry;
        if (is_whole(p.x | p.y | p.modulation | p.width * sizeof(element))) {
            modulate_at<LANES>(p, i / width, i / width / rows, i % width);
        } else {
            for (; i < end; i++) modulate_at<1>(p, i / width, i / width / rows, i % width);
        }
    });
}

// One or two parts of a concatenation, grid (words, parts); bytes are moved in words of 16, 4 or 2.
template <class word, class index> INLINE void join_at(const tti_join &p, int part, index i) {
    index words = p.bytes[part] / sizeof(word), row = i / words, column = i % words;
    if (row >= (index)p.rows) return;
    pointer<word>(p.y + p.offset[part] + row * p.stride)[column] = pointer<const word>(p.x[part])[i];
}

template <class index> INLINE void join_rows(const tti_join &p) {
    int part = blockIdx.y;
    uint64_t sizes = p.x[part] | p.y | p.offset[part] | p.stride | p.bytes[part];
    index i = thread_index();
    if (sizes % 16 == 0) {
        join_at<bytes16>(p, part, i);
    } else if (sizes % 4 == 0) {
        for (int j = 0; j < 4; j++) join_at<uint32_t>(p, part, i * 4 + j);
    } else {
        for (int j = 0; j < 8; j++) join_at<uint16_t>(p, part, i * 8 + j);
    }
}

KERNEL(join, tti_join, THREADS) {
    wait_for_inputs();
    if (p.rows * p.bytes[blockIdx.y] < (int64_t)1 << 31) {
        join_rows<uint32_t>(p);
    } else {
        join_rows<uint64_t>(p);
    }
}

template <int count, class index> INLINE void gather_at(const tti_gather &p, index i) {
    index width = p.width, row = i / width, column = i % width;
    index entry = row / (index)p.count / (index)(p.entries / p.batch);
    int64_t place = pointer<const int32_t>(p.indices)[row];
    floats<count> v;
    if (place >= 0 && place < p.tokens) {
        v = load<count>(pointer<const element>(p.x) + (entry * p.tokens + place) * p.width + column);
    } else {
        for (int j = 0; j < count; j++) v[j] = 0;
    }
    store(pointer<element>(p.y) + i, v);
}

KERNEL(gather, tti_gather, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.entries * p.count * p.width, 0, [&](auto i, auto end) {
        if (is_whole(p.x | p.y | p.width * sizeof(element))) {
            gather_at<LANES>(p, i);
        } else {
            for (; i < end; i++) gather_at<1>(p, i);
        }
    });
}

template <class T, int count> INLINE void embed_at(const tti_embed &p, int64_t i, int64_t row, int64_t column) {
    const T *source = pointer<const T>(p.table) + pointer<const int32_t>(p.ids)[row] * p.width + column;
    if constexpr (count == 1) {
        assign(pointer<element>(p.y)[i], to_float(*source));
    } else if constexpr (sizeof(T) == 4) {
        store(pointer<element>(p.y) + i, load_floats<count>(source));
    } else {
        store(pointer<element>(p.y) + i, load<count>(source));
    }
}

template <class T> INLINE void embed_rows(const tti_embed &p) {
    in_small_numbers(p.count * p.width, 0, [&](auto i, auto end) {
        decltype(i) width = p.width;
        if (is_whole(p.table | p.y) && p.width % LANES == 0) {
            embed_at<T, LANES>(p, i, i / width, i % width);
        } else {
            for (; i < end; i++) embed_at<T, 1>(p, i, i / width, i % width);
        }
    });
}

KERNEL(embed_float, tti_embed, THREADS) {
    wait_for_inputs();
    embed_rows<float>(p);
}

KERNEL(embed_bfloat16, tti_embed, THREADS) {
    wait_for_inputs();
    embed_rows<bfloat16>(p);
}

template <int count, class index> INLINE void depth_to_space_at(const tti_depth_to_space &p, index i) {
    // `rows` of the result, each of 2 · width pixels.
    index channels = p.channels, row_pixels = 2 * p.width;
    index place = i / channels, channel = i % channels, row = place / row_pixels, pixel = place % row_pixels;
    int64_t source = (int64_t)(row / 2 * (row_pixels / 2) + pixel / 2) * 4 + 2 * (row % 2) + pixel % 2;
    store(pointer<element>(p.y) + i, load<count>(pointer<const element>(p.x) + source * p.channels + channel));
}

KERNEL(depth_to_space, tti_depth_to_space, THREADS) {
    wait_for_inputs();
    in_small_numbers(p.rows * 2 * p.width * p.channels, 0, [&](auto i, auto end) {
        if (is_whole(p.x | p.y | p.channels * sizeof(element))) {
            depth_to_space_at<LANES>(p, i);
        } else {
            for (; i < end; i++) depth_to_space_at<1>(p, i);
        }
    });
}

// The end of a product that a library made: eight outputs a thread.
KERNEL(finish, tti_finish, THREADS) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    if (i >= p.count) return;
    floats<8> v = load_floats<8>(pointer<const float>(p.x) + i);
    if (p.bias) {
        floats<8> own = load_floats<8>(pointer<const float>(p.bias) + i % p.width);
        for (int j = 0; j < 8; j++) v[j] += own[j];
    }
    activate(v, p.activation);
    for (int part = 0; part < 8; part += LANES) {
        floats<LANES> y;
        for (int j = 0; j < LANES; j++) y[j] = v[part + j];
        if (p.residual) {
            floats<LANES> other = load<LANES>(pointer<const element>(p.residual) + i + part);
            for (int j = 0; j < LANES; j++) y[j] += other[j];
        }
        store(pointer<element>(p.y) + i + part, y);
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
