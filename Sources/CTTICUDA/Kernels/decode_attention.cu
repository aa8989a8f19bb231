// Few queries over many keys: a token over its cache, and cross-attention of a token. Bound by the bytes of keys and values,
// and at short sequences by the way to memory and back.
//
// Grid: chunks of keys, heads, queries. A block has one query of one head and 64 to 256 keys. A team of 1 to 32 threads
// shares a key, 16 bytes a thread; a thread asks for all its keys and values before it uses the first. Softmax is online: a
// warp's part is merged with the other warps' through shared memory. Where there are several chunks, each leaves its part as
// numbers with marks, which the block of the last chunk looks for and merges, in the order of the chunks: no fence, and no
// counter to go to. Keys that a window hides are not read: chunks count the keys that are seen. Keys and values that the
// kernel before did not write (`is_settled`) are asked for before it ends.
//
// Measured on an H200, in a chain, two rows of 16 heads of 64 in bfloat16: 256 keys in 2.9 us, 512 in 3.2, 1024 in 3.8.
#include "attention.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)

// The keys that a query sees, in ascending order; the query's own place is the last.
struct visible_keys {
    int count;
    // A window: `across` keys of each of its rows, and key 0 before them when it is not among them. 0: all keys.
    int across, columns, origin, has_start;

    INLINE_MEMBER int key(int index) const {
        if (across == 0) return index;
        if (has_start) {
            if (index == 0) return 0;
            index--;
        }
        return origin + index / across * columns + index % across;
    }
};

INLINE visible_keys find_visible_keys(const tti_decode_attention &p, int query) {
    visible_keys seen = {p.key_count, 0, 0, 0, 0};
    int place = p.position ? *pointer<const int32_t>(p.position) : query;
    if (p.position) {
        seen.count = min(place + 1, p.key_count);
    } else if (p.causal) {
        seen.count = min(query + 1, p.key_count);
    }
    if (p.window_columns > 0) {
        int row = place / p.window_columns, column = place % p.window_columns;
        int top = max(0, row - p.window_reach), left = max(0, column - p.window_reach);
        seen.across = min(p.window_columns - 1, column + p.window_reach) - left + 1;
        seen.columns = p.window_columns;
        seen.origin = top * p.window_columns + left;
        seen.has_start = seen.origin > 0;
        seen.count = (row - top) * seen.across + column - left + 1 + seen.has_start;
    }
    return seen;
}

// Where a block's query and its keys are.
struct decode_place {
    const element *q, *keys, *values, *new_keys, *new_values;
    element *y;
    const float *key_bias, *score_bias;
    // Of the query and head among all.
    int64_t index;

    INLINE_MEMBER float bias(int key) const {
        float sum = 0;
        if (key_bias) sum += key_bias[key];
        if (score_bias) sum += score_bias[key];
        return sum * LOG2_E;
    }
};

INLINE decode_place find_place(const tti_decode_attention &p, int head, int token) {
    int query = token % p.queries, entry = token / p.queries;
    int64_t key_entry = (int64_t)entry * p.key_batch / p.batch, column = (int64_t)head * p.width;
    decode_place place;
    place.q = pointer<const element>(p.q) + token * p.q_stride + column;
    place.y = pointer<element>(p.y) + (int64_t)token * p.heads * p.width + column;
    place.keys = pointer<const element>(p.keys) + key_entry * p.key_entry + head * p.key_head;
    place.values = pointer<const element>(p.values) + key_entry * p.value_entry + head * p.value_head;
    place.new_keys = p.new_keys ? pointer<const element>(p.new_keys) + entry * p.q_stride + column : nullptr;
    place.new_values = p.new_keys ? pointer<const element>(p.new_values) + entry * p.q_stride + column : nullptr;
    place.key_bias = p.key_bias ? pointer<const float>(p.key_bias) + key_entry * p.key_count : nullptr;
    int bias_head = p.bias_heads == 1 ? 0 : head;
    place.score_bias = p.score_bias
        ? pointer<const float>(p.score_bias) + ((int64_t)bias_head * p.queries + query) * p.key_count
        : nullptr;
    place.index = (int64_t)token * p.heads + head;
    return place;
}

// What a chunk found of a column: its largest score, and relative to that the sum of weights and of weighted values.
struct chunk_part {
    float most, total, mixed;

    // Whether all three are there.
    INLINE_MEMBER bool look_for(const marked_float *part, int column) {
        marked_float a = look_for_marked(part), b = look_for_marked(part + 1), c = look_for_marked(part + 2 + column);
        most = a.value;
        total = b.value;
        mixed = c.value;
        return a.mark && b.mark && c.mark;
    }
};

// Merges the chunks of a query and a head in their order: those before the last one are waited for, which has its own part
// here. Devices bring blocks in by their numbers, so that those before this one have begun and do not wait for its place; where
// one should not, the launch ends with an error. Leaves the parts without marks.
INLINE void merge_chunks(const tti_decode_attention &p, marked_float *parts, int chunks, chunk_part own, element *y) {
    const int batch = 4;  // chunks that are looked for at once
    const int most_looks = 1 << 26;
    int size = p.width + 2, column = threadIdx.x, last = chunks - 1, looks = 0;
    if (column < p.width) {
        float most = minus_infinity(), total = 0, mixed = 0;
        for (int first = 0; first <= last; first += batch) {
            chunk_part found[batch];
            bool are_there;
            do {
                if (++looks == most_looks) __trap();
                are_there = true;
#pragma unroll
                for (int i = 0; i < batch; i++) {
                    found[i] = first + i == last ? own : chunk_part{minus_infinity(), 0, 0};
                    if (first + i < last) are_there &= found[i].look_for(parts + (first + i) * size, column);
                }
            } while (!are_there);
            float next = most;
#pragma unroll
            for (int i = 0; i < batch; i++) next = fmaxf(next, found[i].most);
            float base = finite_base(next), factor = exp2_fast(most - base);
            total *= factor;
            mixed *= factor;
#pragma unroll
            for (int i = 0; i < batch; i++) {
                float weight = exp2_fast(found[i].most - base);
                total += found[i].total * weight;
                mixed += found[i].mixed * weight;
            }
            most = next;
        }
        assign(y[column], total > 0 ? mixed / total : 0.0f);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < last * size; i += THREADS) clear_mark(parts + i);
}

template <int team, int passes> INLINE void attend(const tti_decode_attention &p) {
    const int keys_of_pass = THREADS / team, chunk = keys_of_pass * passes;
    __shared__ float mosts[WARPS], totals[WARPS], parts[WARPS * WARP * LANES];
    int member = threadIdx.x % team, group = threadIdx.x / team, warp = threadIdx.x / WARP;
    if (!p.is_settled) {
        bring_next();
        wait_for_inputs();
    }
    visible_keys seen = find_visible_keys(p, blockIdx.z % p.queries);
    int first = blockIdx.x * chunk, left = seen.count - first;
    if (left <= 0 && first > 0) return;
    decode_place place = find_place(p, blockIdx.y, blockIdx.z);

    // A thread past the width, or past the keys, reads what is there anyway and uses nothing of it.
    bool is_inside = member * LANES < p.width;
    int column = is_inside ? member * LANES : 0;
    bytes16 keys[passes], values[passes];
    int places[passes];
#pragma unroll
    for (int i = 0; i < passes; i++) {
        if (i * keys_of_pass < left) {
            places[i] = seen.key(min(first + i * keys_of_pass + group, seen.count - 1));
            keys[i] = load_stream(place.keys + places[i] * p.key_row + column);
        }
    }
#pragma unroll
    for (int i = 0; i < passes; i++) {
        if (i * keys_of_pass < left) values[i] = load_stream(place.values + places[i] * p.value_row + column);
    }
    if (p.is_settled) {
        bring_next();
        wait_for_inputs();
    }
    // The place of the token itself is not written yet.
    if (place.new_keys && left <= chunk) {
#pragma unroll
        for (int i = 0; i < passes; i++) {
            if (i * keys_of_pass < left && first + i * keys_of_pass + group >= seen.count - 1) {
                keys[i] = load_stream(place.new_keys + column);
                values[i] = load_stream(place.new_values + column);
            }
        }
    }

    floats<LANES> q = unpack(*(const bytes16 *)(place.q + column));
    float factor = is_inside ? p.scale * LOG2_E : 0.0f;
#pragma unroll
    for (int e = 0; e < LANES; e++) q[e] *= factor;
    float scores[passes], most = minus_infinity();
#pragma unroll
    for (int i = 0; i < passes; i++) {
        scores[i] = minus_infinity();
        if (i * keys_of_pass < left) {
            floats<LANES> key = unpack(keys[i]);
            float score = 0;
#pragma unroll
            for (int e = 0; e < LANES; e++) score += q[e] * key[e];
#pragma unroll
            for (int offset = team / 2; offset > 0; offset /= 2) score += __shfl_xor_sync(ALL_LANES, score, offset);
            if (i * keys_of_pass + group < left) scores[i] = score + place.bias(places[i]);
            most = fmaxf(most, scores[i]);
        }
    }
#pragma unroll
    for (int offset = team; offset < WARP; offset *= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, offset));

    // The warp's keys, relative to their largest score.
    float base = finite_base(most), total = 0;
    floats<LANES> mixed;
#pragma unroll
    for (int e = 0; e < LANES; e++) mixed[e] = 0;
#pragma unroll
    for (int i = 0; i < passes; i++) {
        if (i * keys_of_pass < left) {
            float weight = exp2_fast(scores[i] - base);
            floats<LANES> value = unpack(values[i]);
            total += weight;
#pragma unroll
            for (int e = 0; e < LANES; e++) mixed[e] += weight * value[e];
        }
    }
#pragma unroll
    for (int offset = team; offset < WARP; offset *= 2) {
        total += __shfl_xor_sync(ALL_LANES, total, offset);
#pragma unroll
        for (int e = 0; e < LANES; e++) mixed[e] += __shfl_xor_sync(ALL_LANES, mixed[e], offset);
    }
    if (threadIdx.x % WARP < team) {
#pragma unroll
        for (int e = 0; e < LANES; e++) parts[(warp * team + member) * LANES + e] = mixed[e];
    }
    if (threadIdx.x % WARP == 0) {
        mosts[warp] = most;
        totals[warp] = total;
    }

    // The new token into its place; nobody reads it there before the next step.
    if (place.new_keys && left <= chunk && group == 0 && is_inside) {
        int64_t own = seen.key(seen.count - 1);
        *(bytes16 *)(place.keys + own * p.key_row + column) = load_stream(place.new_keys + column);
        *(bytes16 *)(place.values + own * p.value_row + column) = load_stream(place.new_values + column);
    }

    __syncthreads();
    float block_most = mosts[0];
#pragma unroll
    for (int i = 1; i < WARPS; i++) block_most = fmaxf(block_most, mosts[i]);
    float block_base = finite_base(block_most), weights[WARPS], block_total = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
        weights[i] = exp2_fast(mosts[i] - block_base);
        block_total += totals[i] * weights[i];
    }
    // At most 32 · LANES = THREADS columns.
    float sum = 0;
    int own_column = threadIdx.x;
    if (own_column < p.width) {
#pragma unroll
        for (int i = 0; i < WARPS; i++) sum += parts[i * team * LANES + own_column] * weights[i];
    }
    int chunks = (seen.count + chunk - 1) / chunk;
    if (chunks <= 1) {
        if (own_column < p.width) assign(place.y[own_column], block_total > 0 ? sum / block_total : 0.0f);
        return;
    }
    marked_float *parts_of_chunks = pointer<marked_float>(p.parts) + place.index * gridDim.x * (p.width + 2);
    if ((int)blockIdx.x == chunks - 1) {
        merge_chunks(p, parts_of_chunks, chunks, chunk_part{block_most, block_total, sum}, place.y);
        return;
    }
    marked_float *part = parts_of_chunks + blockIdx.x * (p.width + 2);
    if (own_column < p.width) leave_marked(part + 2 + own_column, sum);
    if (threadIdx.x < 2) leave_marked(part + threadIdx.x, threadIdx.x ? block_total : block_most);
}

// By the team, and the keys of a chunk.
#define INSTANCE(team, keys) \
    KERNEL(decode_attention_##team##_##keys, tti_decode_attention, THREADS) { attend<team, keys * team / THREADS>(p); }

INSTANCE(1, 256)
INSTANCE(2, 256)
INSTANCE(4, 256)
INSTANCE(8, 128)
INSTANCE(8, 256)
INSTANCE(16, 128)
INSTANCE(32, 64)

// Any width and any address, slowly: a block for each query and head, a warp for a key at a time.
KERNEL(decode_attention_general, tti_decode_attention, THREADS) {
    SHARED_MEMORY(shared);
    float *q = (float *)shared, *mixed = q + p.width, *weights = mixed + p.width;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    wait_for_inputs();
    visible_keys seen = find_visible_keys(p, blockIdx.z % p.queries);
    decode_place place = find_place(p, blockIdx.y, blockIdx.z);
    for (int column = threadIdx.x; column < p.width; column += THREADS) {
        q[column] = to_float(place.q[column]) * p.scale * LOG2_E;
        mixed[column] = 0;
    }
    __syncthreads();
    float most = minus_infinity(), total = 0;
    for (int first = 0; first < seen.count; first += THREADS) {
        int count = min(THREADS, seen.count - first);
        for (int i = warp; i < THREADS; i += WARPS) {
            float score = 0;
            int64_t index = seen.key(min(first + i, seen.count - 1));
            bool is_new = place.new_keys && first + i == seen.count - 1;
            const element *key = is_new ? place.new_keys : place.keys + index * p.key_row;
            for (int column = lane; column < p.width; column += WARP) score += q[column] * to_float(key[column]);
            score = warp_sum(score) + place.bias((int)index);
            if (lane == 0) weights[i] = i < count ? score : minus_infinity();
        }
        __syncthreads();
        float score = weights[threadIdx.x];
        float next = fmaxf(most, block_max(score));
        float base = finite_base(next), factor = exp2_fast(most - base), weight = exp2_fast(score - base);
        total = total * factor + block_sum(weight);
        weights[threadIdx.x] = weight;
        most = next;
        __syncthreads();
        for (int column = threadIdx.x; column < p.width; column += THREADS) {
            float sum = mixed[column] * factor;
            for (int i = 0; i < count; i++) {
                bool is_new = place.new_keys && first + i == seen.count - 1;
                const element *value = is_new ? place.new_values : place.values + seen.key(first + i) * p.value_row;
                sum += weights[i] * to_float(value[column]);
            }
            mixed[column] = sum;
        }
        __syncthreads();
    }
    int64_t own = seen.key(seen.count - 1);
    for (int column = threadIdx.x; column < p.width; column += THREADS) {
        assign(place.y[column], total > 0 ? mixed[column] / total : 0.0f);
        if (place.new_keys) {
            ((element *)place.keys)[own * p.key_row + column] = place.new_keys[column];
            ((element *)place.values)[own * p.value_row + column] = place.new_values[column];
        }
    }
}

// Keys and values of one token for each entry, into its place; a thread for an element.
KERNEL(append_to_cache, tti_append, THREADS) {
    wait_for_inputs();
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count) return;
    int64_t width = p.width, columns = p.heads * width, entry = i / columns, column = i % columns;
    int64_t target = (i / width * p.capacity + *pointer<const int32_t>(p.position)) * width + column % width;
    pointer<element>(p.keys)[target] = pointer<const element>(p.new_keys)[entry * p.key_stride + column];
    pointer<element>(p.values)[target] = pointer<const element>(p.new_values)[entry * p.value_stride + column];
}
