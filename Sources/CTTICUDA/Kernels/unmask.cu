// One step of masked decoding: which places are masked, a token for each, and which of them stay.
#include "draw.cuh"

#define THREADS 1024

// One block for each image, a thread for each token, 1024 at a time.
KERNEL(masked_places, tti_masked_places, THREADS) {
    __shared__ uint64_t totals[WARP];
    wait_for_inputs();
    const int32_t *tokens = pointer<const int32_t>(p.tokens) + blockIdx.x * p.width;
    int32_t *y = pointer<int32_t>(p.y) + blockIdx.x * p.count;
    int64_t found = 0;
    for (int64_t start = 0; start < p.width; start += THREADS) {
        int64_t place = start + threadIdx.x;
        bool is_masked = place < p.width && tokens[place] == p.mask_token;
        uint64_t here;
        int64_t index = found + (int64_t)block_prefix(is_masked, totals, here) - 1;
        if (is_masked && index < p.count) y[index] = (int32_t)place;
        found += (int64_t)here;
        __syncthreads();
    }
    for (int64_t i = found + threadIdx.x; i < p.count; i += THREADS) y[i] = -1;
}

#define DRAW_THREADS 256

// One block for each place. Bound by arithmetic: of a thousand places with eight thousand codes each, noise is made for
// eight million, beside which their logits take a moment.
template <class T> INLINE void draw_place(const tti_unmask &p, char *memory) {
    wait_for_inputs();
    int64_t index = blockIdx.x, image = index / p.count;
    int32_t place = pointer<const int32_t>(p.places)[index], step = *pointer<const int32_t>(p.draw.position);
    int32_t *token = pointer<int32_t>(p.drawn) + index;
    float *confidence = pointer<float>(p.confidences) + index;
    if (place < 0) {
        if (threadIdx.x == 0) *confidence = -infinity();
        return;
    }
    int64_t logits = (p.is_one_row ? index % p.count : index) * p.draw.vocabulary;
    logits_row<T> row = {
        pointer<const T>(p.logits) + logits, nullptr, 0, (float *)(memory + TTI_SELECTION_BYTES), p.draw.is_shared != 0};
    draw_settings s = settings_of(p.draw, image, step, (uint64_t)place * (uint64_t)p.draw.vocabulary);
    drawn result = draw(*(selection *)memory, row, p.draw, s, !p.order);
    if (threadIdx.x > 0) return;
    *token = result.token;
    if (!result.is_finite) *pointer<int32_t>(p.draw.non_finite) = 1;
    float noise = pointer<const float>(p.noise)[step];
    if (p.order) {
        *confidence = -(float)pointer<const int32_t>(p.order)[place];
    } else if (noise != 0) {
        s.stream.purpose = PURPOSE_CONFIDENCE;
        *confidence = result.log_probability + noise * gumbel_at(s.stream, (uint32_t)place);
    } else {
        *confidence = result.log_probability;
    }
}

KERNEL(unmask_draw, tti_unmask, DRAW_THREADS) {
    SHARED_MEMORY(memory);
    draw_place<element>(p, memory);
}
#ifdef TTI_BF16
KERNEL(unmask_draw_float, tti_unmask, DRAW_THREADS) {
    SHARED_MEMORY(memory);
    draw_place<float>(p, memory);
}
#endif

// One block for each image: the most confident places get their tokens, between equals the first ones (places ascend), and
// the rest are masked again. Bound by latency.
KERNEL(unmask_rank, tti_unmask, THREADS) {
    SHARED_MEMORY(memory);
    wait_for_inputs();
    int count = (int)p.count;
    int64_t first = (int64_t)blockIdx.x * count;
    const int32_t *places = pointer<const int32_t>(p.places) + first, *drawn = pointer<const int32_t>(p.drawn) + first;
    int32_t *tokens = pointer<int32_t>(p.tokens) + blockIdx.x * p.width;
    int32_t *predicted = pointer<int32_t>(p.predicted) + blockIdx.x * p.width;
    int64_t step = *pointer<const int32_t>(p.draw.position);
    int known = 0;
    for (int start = 0; start < count; start += THREADS) {
        int i = start + threadIdx.x;
        known += __syncthreads_count(i < count && places[i] >= 0);
    }
    int left = 0;
    if (step < p.steps - 1) left = max(1, min(pointer<const int32_t>(p.remaining)[step], known - 1));
    logits_row<float> confidences = {
        pointer<const float>(p.confidences) + first, nullptr, 0, (float *)(memory + TTI_SELECTION_BYTES),
        p.is_shared != 0};
    extremes range = read_row(confidences, count);
    cut kept = {known > left ? LEAST_RANK : 0xffffffffu, ALL_PLACES};
    if (left > 0 && known > left) {
        kept = select(*(selection *)memory, confidences, count, range, by_count{(uint64_t)(known - left), false});
    }
    for (int i = threadIdx.x; i < count; i += THREADS) {
        int32_t place = places[i];
        if (place < 0) continue;
        tokens[place] = kept.keeps(rank_of(confidences[i]), i) ? drawn[i] : p.mask_token;
        predicted[place] = drawn[i];
    }
}
