// Many operations of decoding in one kernel: products of few rows and single-query attention, each of which needs what the one
// before it made. Bound by the bytes of the weights, or, where those are few, by the way from one block to all others.
//
// One block stays on each multiprocessor for the whole run. Between operations all blocks wait for each other at a counter;
// the weights do not wait: every lane copies those that it will multiply into a queue of its own in shared memory, slot after
// slot, through the operations that are to come, as far ahead as the queue is long. A slot is written and read by the same
// lane, so that nothing but its own count of copies says when it is full.
//
// What an operation does is in decode_linear.cuh and decode_attention.cuh, in the order of the kernels of one operation: a run
// gives the same bits.
#include "decode_attention.cuh"
#include "decode_linear.cuh"

#ifdef TTI_BF16

// MARK: Weights on their way

// Bytes that a warp copies at once: 8 outputs, 64 bytes of each.
#define SLOT_BYTES (WARP * 16)

// The eights of outputs that are a block's: `per` of them, in groups of at most `group`.
struct block_share {
    int first, end, group;

    INLINE_MEMBER block_share(int eights) {
        int per = (eights + gridDim.x - 1) / gridDim.x, groups = (per + TTI_RUN_TILES - 1) / TTI_RUN_TILES;
        first = min((int)blockIdx.x * per, eights);
        end = min(first + per, eights);
        group = (per + groups - 1) / groups;
    }
};

template <int slots> struct weight_queue {
    // The lane's 16 bytes of the warp's first slot.
    char *memory;
    int fill, drain;
    // What is asked for next: 16 bytes of tile `tile` of `tiles`, and so on for `left` blocks of the inputs.
    const char *source;
    int tile, tiles, left;
    int64_t tile_stride, back;
    // The product that this belongs to, its groups and blocks.
    const tti_decode_weights *product, *last_product;
    int next_eight, end_eight, group, blocks;

    INLINE_MEMBER weight_queue(char *queues, const tti_decode_weights *products, int count) {
        memory = queues + threadIdx.x / WARP * slots * SLOT_BYTES + threadIdx.x % WARP * 16;
        fill = drain = 0;
        source = nullptr;
        product = products - 1;
        last_product = products + count;
        tile = tiles = left = next_eight = end_eight = group = blocks = 0;
        find_group();
#pragma unroll 1
        for (int i = 0; i < slots; i++) ask();
    }

    // Goes to the next group of the product, or of the next product in which the warp has a part.
    INLINE_MEMBER void find_group() {
        int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
        while (next_eight >= end_eight || blocks <= 0) {
            if (++product >= last_product) {
                source = nullptr;
                return;
            }
            block_share share(product->eights);
            next_eight = share.first;
            end_eight = share.end;
            group = share.group;
            blocks = (product->blocks - warp + WARPS - 1) / WARPS;
        }
        tile = 0;
        tiles = min(group, end_eight - next_eight);
        left = blocks;
        tile_stride = (int64_t)product->stride * 8;
        back = WARPS * 64 - (tiles - 1) * tile_stride;
        source = pointer<const char>(product->weight) + (int64_t)(next_eight * 8 + lane / 4) * product->stride + warp * 64
            + lane % 4 * 16;
        next_eight += tiles;
    }

    // Begins to copy what comes next into the slot that was drained longest ago.
    INLINE_MEMBER void ask() {
        if (source) {
            copy_async(memory + fill, source);
            if (++tile < tiles) {
                source += tile_stride;
            } else {
                tile = 0;
                source += back;
                if (--left == 0) find_group();
            }
        }
        copy_commit();
        fill = fill + SLOT_BYTES == slots * SLOT_BYTES ? 0 : fill + SLOT_BYTES;
    }

    // The next `count` slots.
    template <int count> INLINE_MEMBER void take(bytes16 w[count]) {
        copy_wait<slots - count>();
#pragma unroll
        for (int t = 0; t < count; t++) {
            w[t] = *(const bytes16 *)(memory + drain);
            drain = drain + SLOT_BYTES == slots * SLOT_BYTES ? 0 : drain + SLOT_BYTES;
        }
#pragma unroll
        for (int t = 0; t < count; t++) ask();
    }
};

// MARK: Products

// d += x · weights of `tiles` eights; `x` are the rows as they are multiplied, `blocks` times 64 bytes long.
template <int tiles, int slots, class number>
INLINE void multiply_group(
    weight_queue<slots> &queue, const char *x, int stride, int rows, int blocks, number d[tiles][4]
) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const char *own = x + lane / 4 * stride + lane % 4 * 16;
    for (int block = warp; block < blocks; block += WARPS) {
        bytes16 w[tiles];
        queue.template take<tiles>(w);
        multiply_block<tiles>(own + block * 64, stride, rows, w, d);
    }
}

// `tiles` eights from `eight` on. The warps' sums go through `parts`, which the block does not read any more since the last
// barrier but one. `first` belongs to the thread's first place.
template <int tiles, int slots, class number, class Scale>
INLINE void make_group(
    const tti_decode_linear &p, weight_queue<slots> &queue, const char *x, int stride, int blocks, int eight,
    number *parts, addends first, Scale scale
) {
    number d[tiles][4] = {};
    multiply_group<tiles>(queue, x, stride, p.rows, blocks, d);
    put_parts<tiles>(parts, d, p.rows, p.group);
    reduce(p, 0, p.rows, eight * 8, tiles * 8, parts, first, scale);
}

// One product, from the wait on. `prepare` puts the rows into shared memory as they are multiplied, ending with a barrier.
template <class number, int slots, class Wait, class Prepare, class Scale>
INLINE void make_outputs(
    const tti_decode_linear &p, weight_queue<slots> &queue, const char *x, int stride, int blocks, char *parts,
    int parts_bytes, Wait wait, Prepare prepare, Scale scale
) {
    block_share share(p.outputs / 8);
    if (share.first >= share.end) return wait();
    first_place place(share.first * 8, min(share.group, share.end - share.first) * 8);
    addends first(p, place.output);
    wait();
    first.ask_residual(p, place.row, p.rows, place.output);
    prepare();
    int turn = 0;
    for (int eight = share.first; eight < share.end; eight += share.group, turn ^= 1) {
        number *own = (number *)(parts + turn * (parts_bytes / 2));
        int tiles = min(share.group, share.end - eight);
        if (eight > share.first) {
            place = first_place(eight * 8, tiles * 8);
            first = addends(p, place.output);
            first.ask_residual(p, place.row, p.rows, place.output);
        }
        switch (tiles) {
        case 1: make_group<1>(p, queue, x, stride, blocks, eight, own, first, scale); break;
        case 2: make_group<2>(p, queue, x, stride, blocks, eight, own, first, scale); break;
        case 3: make_group<3>(p, queue, x, stride, blocks, eight, own, first, scale); break;
        default: make_group<4>(p, queue, x, stride, blocks, eight, own, first, scale);
        }
    }
}

// x is staged, normalised and, for int8, quantised by every block for itself: a row is a few KB in the second-level cache.
template <int slots, class Wait>
INLINE void run_bfloat16(
    const tti_decode_linear &p, weight_queue<slots> &queue, char *rows, char *parts, int parts_bytes, Wait wait
) {
    __shared__ row_statistics statistics;
    int padded = (p.inputs + 31) / 32 * 32, stride = padded * 2 + 64;
    float *norm = (float *)(rows + p.rows * stride);
    if (p.norm) stage_norm<false>(p, padded, norm);
    auto prepare = [&] {
        stage_rows<false>(p, 0, p.rows, padded, rows, stride);
        if (p.norm) normalise_rows(p, p.rows, padded, rows, stride, norm, statistics);
        __syncthreads();
    };
    make_outputs<float>(p, queue, rows, stride, padded / 32, parts, parts_bytes, wait, prepare,
                        [](float sum, int, float) { return sum; });
}

template <int slots, class Wait>
INLINE void run_int8(
    const tti_decode_linear &p, weight_queue<slots> &queue, char *rows, char *parts, int parts_bytes, Wait wait
) {
    __shared__ quantiser quantised;
    int padded = (p.inputs + 63) / 64 * 64, stride = padded * 2 + 64, own_stride = padded + 64;
    char *own = rows + p.rows * stride;
    float *norm = (float *)(own + p.rows * own_stride);
    if (p.norm) stage_norm<false>(p, padded, norm);
    auto prepare = [&] {
        stage_rows<false>(p, 0, p.rows, padded, rows, stride);
        quantise_rows(p, p.rows, padded, rows, stride, own, own_stride, norm, quantised);
        __syncthreads();
    };
    make_outputs<int32_t>(p, queue, own, own_stride, padded / 64, parts, parts_bytes, wait, prepare,
                          [&](int32_t sum, int row, float scale) {
                              return __fmul_rn((float)sum, __fmul_rn(quantised.scales[row], scale));
                          });
}

// MARK: Attention

// Chunks, heads and queries in this order, dealt out to the blocks.
template <int team, int passes, class Wait>
INLINE void run_attention(const tti_decode_attention &p, int chunks, char *rows, Wait wait) {
    int tokens = p.batch * p.queries, of_chunk = p.heads * tokens;
    bool has_waited = false;
    for (int part = blockIdx.x; part < chunks * of_chunk; part += gridDim.x) {
        // What the block shares belongs to the part before until here.
        if (has_waited) __syncthreads();
        attend<team, passes>(p, part / of_chunk, chunks, part % of_chunk % p.heads, part % of_chunk / p.heads,
                             *(decode_shared *)rows, [&] {
            if (!has_waited) wait();
        });
        has_waited = true;
    }
    if (!has_waited) wait();
}

// MARK: The run

template <int slots> INLINE void run_operations(const tti_decode_run &p) {
    SHARED_MEMORY(shared);
    __shared__ tti_decode_operation operations[2];
    const int operation_words = sizeof(tti_decode_operation) / 4;
    char *queues = shared;
    tti_decode_weights *products = (tti_decode_weights *)(queues + WARPS * slots * SLOT_BYTES);
    char *parts = (char *)(products + p.weight_count), *rows = parts + p.parts_bytes;
    int32_t *counter = pointer<int32_t>(p.counters);

    const bytes16 *all_products = pointer<const bytes16>(p.weights);
    for (int i = threadIdx.x; i < p.weight_count; i += THREADS) ((bytes16 *)products)[i] = all_products[i];
    const uint32_t *words = pointer<const uint32_t>(p.operations);
    if ((int)threadIdx.x < operation_words) ((uint32_t *)operations)[threadIdx.x] = words[threadIdx.x];
    __syncthreads();
    weight_queue<slots> queue(queues, products, p.weight_count);

    for (int i = 0; i < p.count; i++) {
        const tti_decode_operation &operation = operations[i % 2];
        // The next one is on its way while this one is done.
        uint32_t word = 0;
        bool is_coming = i + 1 < p.count && (int)threadIdx.x < operation_words;
        if (is_coming) word = words[(i + 1) * operation_words + threadIdx.x];
        auto wait = [&] {
            if (i == 0) return wait_for_inputs();
            if (threadIdx.x == 0) wait_for_signal(counter, i * (int)gridDim.x);
            __syncthreads();
        };
        switch (operation.kind) {
        case TTI_DECODE_BFLOAT16:
            run_bfloat16(operation.linear, queue, rows, parts, p.parts_bytes, wait);
            break;
        case TTI_DECODE_INT8: run_int8(operation.linear, queue, rows, parts, p.parts_bytes, wait); break;
        case TTI_DECODE_ATTENTION_4: run_attention<4, 4>(operation.attention, operation.chunks, rows, wait); break;
        case TTI_DECODE_ATTENTION_8: run_attention<8, 8>(operation.attention, operation.chunks, rows, wait); break;
        case TTI_DECODE_ATTENTION_16: run_attention<16, 8>(operation.attention, operation.chunks, rows, wait); break;
        }
        if (is_coming) ((uint32_t *)&operations[(i + 1) % 2])[threadIdx.x] = word;
        // What all threads wrote is there before the block is counted.
        __syncthreads();
        if (threadIdx.x == 0 && i + 1 < p.count) signal(counter);
    }
    copy_wait<0>();
    // The last block leaves the counters as they were: nobody waits any more.
    if (threadIdx.x == 0 && atomicAdd(counter + 1, 1) == (int)gridDim.x - 1) {
        counter[0] = 0;
        counter[1] = 0;
    }
}

// One block on each multiprocessor.
KERNEL_RESIDENT(decode_run_24, tti_decode_run, THREADS, 1) { run_operations<24>(p); }
KERNEL_RESIDENT(decode_run_40, tti_decode_run, THREADS, 1) { run_operations<40>(p); }

#endif
