// cuBLASLt for machines without a GPU, as far as Sources/CTTICUDA/matrix_library.c uses it: products of bfloat16 with sums in
// float32, given to a stream of this folder's driver.
//
// It recommends three ways. The first cuts sums where the number of entries says and rounds the parts, as some of the
// library's do: whoever takes it makes an entry's bits depend on the others. The second goes up in depth, the third down.
#include <stdint.h>
#include <string.h>
#include <algorithm>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

// The driver's (streams.cpp, memory.cpp).
extern "C" int tti_cpu_call(void *stream, int (*call)(const void *), const void *data, size_t bytes);
extern "C" bool tti_cpu_is_device_memory(uint64_t address, size_t bytes);

namespace {

enum { success = 0, invalid_value = 7, not_supported = 15 };
enum { float32 = 0, bfloat16 = 14, sums_in_float32 = 68 };
enum { by_entries = 1, upwards, downwards };

struct Library {};
struct Preference {};

struct Operation {
    bool transposes_a;
};

// Column-major.
struct Layout {
    int type, count;
    int64_t rows, columns, stride, batch_stride;
    size_t bytes(int64_t batch) const {
        int64_t elements = (batch - 1) * batch_stride + (columns - 1) * stride + rows;
        return (size_t)elements * (type == float32 ? 4 : 2);
    }
};

struct Way {
    uint64_t words[8];
};

struct Recommendation {
    Way way;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};

struct Product {
    Layout a, b, d;
    uint64_t a_at, b_at, c_at, d_at;
    float alpha, beta;
    uint64_t way;
};

float widened(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &word, 4);
    return x;
}

uint16_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float sum_of(const uint16_t *a, const uint16_t *b, int64_t depth, const Product &p) {
    float sum = 0;
    if (p.way == downwards) {
        for (int64_t k = depth; k-- > 0;) sum += widened(a[k]) * widened(b[k]);
        return sum;
    }
    int64_t part = p.way == by_entries ? (depth + p.d.count - 1) / p.d.count : depth;
    for (int64_t first = 0; first < depth; first += part) {
        float own = 0;
        for (int64_t k = first; k < std::min(depth, first + part); k++) own += widened(a[k]) * widened(b[k]);
        sum += p.way == by_entries ? widened(rounded(own)) : own;
    }
    return sum;
}

int multiply(const void *data) {
    Product p;
    memcpy(&p, data, sizeof p);
    if (!tti_cpu_is_device_memory(p.a_at, p.a.bytes(p.a.count)) || !tti_cpu_is_device_memory(p.b_at, p.b.bytes(p.b.count))
        || !tti_cpu_is_device_memory(p.d_at, p.d.bytes(p.d.count))
        || (p.beta != 0 && !tti_cpu_is_device_memory(p.c_at, p.d.bytes(p.d.count))))
        return 700;
    for (int64_t entry = 0; entry < p.d.count; entry++)
        for (int64_t column = 0; column < p.d.columns; column++)
            for (int64_t row = 0; row < p.d.rows; row++) {
                const uint16_t *a = (const uint16_t *)p.a_at + entry * p.a.batch_stride + row * p.a.stride;
                const uint16_t *b = (const uint16_t *)p.b_at + entry * p.b.batch_stride + column * p.b.stride;
                int64_t place = entry * p.d.batch_stride + column * p.d.stride + row;
                float sum = p.alpha * sum_of(a, b, p.a.rows, p);
                if (p.d.type == float32) {
                    if (p.beta != 0) sum += p.beta * ((const float *)p.c_at)[place];
                    ((float *)p.d_at)[place] = sum;
                } else {
                    if (p.beta != 0) sum += p.beta * widened(((const uint16_t *)p.c_at)[place]);
                    ((uint16_t *)p.d_at)[place] = rounded(sum);
                }
            }
    return 0;
}

}  // namespace

EXPORT size_t cublasLtGetVersion() { return 1; }
EXPORT int cublasLtCreate(Library **library) { return *library = new Library, success; }
EXPORT int cublasLtDestroy(Library *library) { return delete library, success; }

EXPORT int cublasLtMatmulDescCreate(Operation **operation, int compute, int scale) {
    if (compute != sums_in_float32 || scale != float32) return not_supported;
    return *operation = new Operation{}, success;
}
EXPORT int cublasLtMatmulDescSetAttribute(Operation *operation, int attribute, const void *value, size_t bytes) {
    if (attribute != 3 || bytes != 4) return invalid_value;
    operation->transposes_a = *(const int32_t *)value == 1;
    return success;
}
EXPORT int cublasLtMatmulDescDestroy(Operation *operation) { return delete operation, success; }

EXPORT int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    if ((type != float32 && type != bfloat16) || stride < (int64_t)rows) return invalid_value;
    return *layout = new Layout{type, 1, (int64_t)rows, (int64_t)columns, stride, 0}, success;
}
EXPORT int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t bytes) {
    if (attribute == 5 && bytes == 4) return layout->count = *(const int32_t *)value, success;
    if (attribute == 6 && bytes == 8) return layout->batch_stride = *(const int64_t *)value, success;
    return invalid_value;
}
EXPORT int cublasLtMatrixLayoutDestroy(Layout *layout) { return delete layout, success; }

EXPORT int cublasLtMatmulPreferenceCreate(Preference **preference) { return *preference = new Preference, success; }
EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference *, int, const void *, size_t) { return success; }
EXPORT int cublasLtMatmulPreferenceDestroy(Preference *preference) { return delete preference, success; }

EXPORT int cublasLtMatmulAlgoGetHeuristic(
    Library *, Operation *, Layout *, Layout *, Layout *, Layout *, Preference *, int wanted, Recommendation *found, int *count
) {
    *count = std::min(wanted, 3);
    for (int i = 0; i < *count; i++) {
        found[i] = {};
        found[i].way.words[0] = (uint64_t)(by_entries + i);
    }
    return success;
}

EXPORT int cublasLtMatmul(
    Library *, Operation *operation, const float *alpha, const void *a, Layout *a_layout, const void *b, Layout *b_layout,
    const float *beta, const void *c, Layout *c_layout, void *d, Layout *d_layout, const Way *way, void *, size_t, void *stream
) {
    if (!operation->transposes_a || a_layout->type != bfloat16 || b_layout->type != bfloat16
        || a_layout->rows != b_layout->rows || a_layout->columns != d_layout->rows || b_layout->columns != d_layout->columns
        || c_layout != d_layout)
        return not_supported;
    if (((uint64_t)a | (uint64_t)b | (uint64_t)c | (uint64_t)d) % 16 != 0) return invalid_value;
    Product product = {*a_layout, *b_layout, *d_layout, (uint64_t)a, (uint64_t)b, (uint64_t)c, (uint64_t)d,
                       *alpha, *beta, way->words[0]};
    return tti_cpu_call(stream, multiply, &product, sizeof product) == 0 ? success : invalid_value;
}
