// Guidance and the choice of a token.
#include "draw.cuh"

#define GUIDE_THREADS 256

template <class T, int count> INLINE void guide_at(const tti_guide &p, float scale, int64_t i) {
    const T *x = pointer<const T>(p.logits) + i;
    floats<count> a = load<count>(x), b = load<count>(x + p.count);
    for (int j = 0; j < count; j++) a[j] = a[j] + scale * (b[j] - a[j]);
    float *y = pointer<float>(p.y) + i;
    if constexpr (count % 4 == 0) store_floats(y, a);
    else for (int j = 0; j < count; j++) y[j] = a[j];
}

INLINE float guidance_at(device_address guidance, int64_t entries, device_address position) {
    int64_t index = *pointer<const int32_t>(position);
    return pointer<const float>(guidance)[index < entries ? index : entries - 1];
}

// Bound by bytes: a thread takes 16 of each half.
template <class T> INLINE void guide_all(const tti_guide &p) {
    wait_for_inputs();
    const int lanes = lanes_of<T>::count;
    float scale = guidance_at(p.guidance, p.entries, p.position);
    int64_t i = ((int64_t)blockIdx.x * GUIDE_THREADS + threadIdx.x) * lanes;
    if ((p.logits | p.y | p.count * sizeof(T)) % 16 == 0) {
        if (i < p.count) guide_at<T, lanes>(p, scale, i);
    } else {
        for (int64_t j = i; j < p.count && j < i + lanes; j++) guide_at<T, 1>(p, scale, j);
    }
}

KERNEL(guide, tti_guide, GUIDE_THREADS) { guide_all<element>(p); }
#ifdef TTI_BF16
KERNEL(guide_float, tti_guide, GUIDE_THREADS) { guide_all<float>(p); }
#endif

#define SAMPLE_THREADS 1024

// One block for each image, bound by latency: a row of a few ten kilobytes is read, guided, cut, drawn from; every step of
// it takes microseconds, and so would a second kernel.
template <class T> INLINE void sample_row(const tti_sample &p, char *memory) {
    wait_for_inputs();
    int64_t image = blockIdx.x;
    int32_t position = *pointer<const int32_t>(p.draw.position);
    const T *logits = pointer<const T>(p.logits) + image * p.draw.vocabulary;
    logits_row<T> row = {logits, nullptr, 0, (float *)(memory + TTI_SELECTION_BYTES), p.draw.is_shared != 0};
    if (p.is_guided) {
        row.conditional = logits + p.images * p.draw.vocabulary;
        row.guidance = guidance_at(p.guidance, p.entries, p.draw.position);
    }
    drawn result = draw(*(selection *)memory, row, p.draw, settings_of(p.draw, image, position, 0), false);
    if (threadIdx.x > 0) return;
    pointer<int32_t>(p.y)[image] = result.token;
    if (position >= 0 && position < p.tokens) pointer<int32_t>(p.codes)[image * p.tokens + position] = result.token;
    if (!result.is_finite) *pointer<int32_t>(p.draw.non_finite) = 1;
}

KERNEL(sample, tti_sample, SAMPLE_THREADS) {
    SHARED_MEMORY(memory);
    sample_row<element>(p, memory);
}
#ifdef TTI_BF16
KERNEL(sample_float, tti_sample, SAMPLE_THREADS) {
    SHARED_MEMORY(memory);
    sample_row<float>(p, memory);
}
#endif
