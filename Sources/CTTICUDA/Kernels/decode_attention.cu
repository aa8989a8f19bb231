// Few queries over many keys: a token over its cache, and cross-attention of a token. Bound by the bytes of keys and values,
// and at short sequences by the way to memory and back.
//
// Grid: chunks of keys, heads, queries. A block has one query of one head and at most 256 keys. A team of 1 to 32 threads
// shares a key, 16 bytes a thread; a thread asks for all its keys and values before it uses the first. Softmax is online: a
// warp's part is merged with the other warps' through shared memory, and where there are several chunks, the last block to
// come merges them, in the order of the chunks. Keys that a window hides are not read: chunks count the keys that are seen.
// Keys and values that the kernel before did not write (`is_settled`) are asked for before it ends.
//
// Measured on an H200, two rows of 16 heads of 64 in bfloat16: 64 keys in 2.8 us, 1024 in 5.2 (1.6 TB/s).
#include "decode_attention.cuh"

#define INSTANCE(team, passes) \
    KERNEL(decode_attention_##team, tti_decode_attention, THREADS) { \
        __shared__ decode_shared shared; \
        attend<team, passes>(p, blockIdx.x, gridDim.x, blockIdx.y, blockIdx.z, shared, [] { wait_for_inputs(); }); \
    }

INSTANCE(1, 1)
INSTANCE(2, 2)
INSTANCE(4, 4)
INSTANCE(8, 8)
INSTANCE(16, 8)
INSTANCE(32, 8)

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
