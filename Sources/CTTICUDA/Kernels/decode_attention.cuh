// Few queries over many keys, for the kernel of one such operation (decode_attention.cu) and for that of many operations
// (decode_run.cu).
#pragma once
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
        seen.count = place + 1;
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

INLINE floats<LANES> unpacked(const bytes16 &x) {
    floats<LANES> y;
#ifdef TTI_BF16
#pragma unroll
    for (int i = 0; i < 4; i++) {
        y[2 * i] = low_half(x.word[i]);
        y[2 * i + 1] = high_half(x.word[i]);
    }
#else
#pragma unroll
    for (int i = 0; i < 4; i++) y[i] = as_float(x.word[i]);
#endif
    return y;
}

// Merges the chunks of a query and a head in their order.
INLINE void merge_chunks(const tti_decode_attention &p, const volatile float *partials, int chunks, element *y) {
    const int batch = 8;  // chunks that are asked for at once
    int size = p.width + 2;
    for (int column = threadIdx.x; column < p.width; column += THREADS) {
        float most = minus_infinity(), total = 0, mixed = 0;
        for (int first = 0; first < chunks; first += batch) {
            float mosts[batch], totals[batch], values[batch];
#pragma unroll
            for (int i = 0; i < batch; i++) {
                bool is_one = first + i < chunks;
                const volatile float *partial = partials + (is_one ? first + i : 0) * size;
                mosts[i] = is_one ? partial[0] : minus_infinity();
                totals[i] = is_one ? partial[1] : 0.0f;
                values[i] = is_one ? partial[2 + column] : 0.0f;
            }
            float next = most;
#pragma unroll
            for (int i = 0; i < batch; i++) next = fmaxf(next, mosts[i]);
            float base = finite_base(next), factor = exp2_fast(most - base);
            total *= factor;
            mixed *= factor;
#pragma unroll
            for (int i = 0; i < batch; i++) {
                float weight = exp2_fast(mosts[i] - base);
                total += totals[i] * weight;
                mixed += values[i] * weight;
            }
            most = next;
        }
        assign(y[column], total > 0 ? mixed / total : 0.0f);
    }
}

// What the threads of a block share.
struct decode_shared {
    float mosts[WARPS], totals[WARPS], parts[WARPS * WARP * LANES];
    int is_last;
};

// The block's part: one chunk of the `most_chunks` that there can be, for one head of one query. `wait` returns when the
// kernel's inputs are there; it is called once, by all threads.
template <int team, int passes, class Wait>
INLINE void attend(const tti_decode_attention &p, int own_chunk, int most_chunks, int head, int token,
                   decode_shared &shared, Wait wait) {
    const int keys_of_pass = THREADS / team, chunk = keys_of_pass * passes;
    float *mosts = shared.mosts, *totals = shared.totals, *parts = shared.parts;
    int member = threadIdx.x % team, group = threadIdx.x / team, warp = threadIdx.x / WARP;
    if (!p.is_settled) wait();
    visible_keys seen = find_visible_keys(p, token % p.queries);
    int first = own_chunk * chunk, left = seen.count - first;
    if (left <= 0 && first > 0) {
        if (p.is_settled) wait();
        return;
    }
    decode_place place = find_place(p, head, token);

    // A thread past the width, or past the keys, reads what is there anyway and uses nothing of it.
    bool is_inside = member * LANES < p.width;
    int column = is_inside ? member * LANES : 0;
    bytes16 keys[passes], values[passes];
    int places[passes];
#pragma unroll
    for (int i = 0; i < passes; i++) {
        if (i * keys_of_pass < left) {
            places[i] = seen.key(min(first + i * keys_of_pass + group, seen.count - 1));
            keys[i] = load_once(place.keys + places[i] * p.key_row + column);
        }
    }
#pragma unroll
    for (int i = 0; i < passes; i++) {
        if (i * keys_of_pass < left) values[i] = load_once(place.values + places[i] * p.value_row + column);
    }
    if (p.is_settled) wait();
    // The place of the token itself is not written yet.
    if (place.new_keys && left <= chunk) {
#pragma unroll
        for (int i = 0; i < passes; i++) {
            if (i * keys_of_pass < left && first + i * keys_of_pass + group >= seen.count - 1) {
                keys[i] = load_once(place.new_keys + column);
                values[i] = load_once(place.new_values + column);
            }
        }
    }

    floats<LANES> q = unpacked(*(const bytes16 *)(place.q + column));
    float factor = is_inside ? p.scale * LOG2_E : 0.0f;
#pragma unroll
    for (int e = 0; e < LANES; e++) q[e] *= factor;
    float scores[passes], most = minus_infinity();
#pragma unroll
    for (int i = 0; i < passes; i++) {
        scores[i] = minus_infinity();
        if (i * keys_of_pass < left) {
            floats<LANES> key = unpacked(keys[i]);
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
            floats<LANES> value = unpacked(values[i]);
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
        *(bytes16 *)(place.keys + own * p.key_row + column) = load_once(place.new_keys + column);
        *(bytes16 *)(place.values + own * p.value_row + column) = load_once(place.new_values + column);
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
    float *partials = pointer<float>(p.partials) + place.index * most_chunks * (p.width + 2);
    float *partial = partials + own_chunk * (p.width + 2);
    if (own_column < p.width) partial[2 + own_column] = sum;
    if (threadIdx.x == 0) {
        partial[0] = block_most;
        partial[1] = block_total;
    }
    // What all threads wrote is there for everyone before the block is counted.
    __threadfence();
    __syncthreads();
    int32_t *counter = pointer<int32_t>(p.counters) + place.index;
    if (threadIdx.x == 0) shared.is_last = atomicAdd(counter, 1) == chunks - 1;
    __syncthreads();
    if (!shared.is_last) return;
    __threadfence();
    if (threadIdx.x == 0) *counter = 0;
    merge_chunks(p, partials, chunks, place.y);
}
