// What device.cuh says with the GPU's own instructions, in C++: products of tiles, loads of matrices, copies that go on by
// themselves. The layouts are those that device.cuh documents.
#pragma once

TTI_CPU_INLINE unsigned tti_cpu_bfloat16_bits(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}
TTI_CPU_INLINE uint32_t pack_bfloat16(float low, float high) {
    return tti_cpu_bfloat16_bits(high) << 16 | tti_cpu_bfloat16_bits(low);
}
// Exact before it is rounded: both parts fit a double.
TTI_CPU_INLINE uint32_t multiply_add_pair(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t y = 0;
    for (int half = 0; half < 32; half += 16) {
        double x = __builtin_bit_cast(float, a >> half << 16), m = __builtin_bit_cast(float, b >> half << 16);
        y |= tti_cpu_bfloat16_bits((float)(x * m + __builtin_bit_cast(float, c >> half << 16))) << half;
    }
    return y;
}
template <class T> TTI_CPU_INLINE T load_now(const T *address, TTI_CPU_PLACE) {
    if ((unsigned long)address % sizeof(T) != 0)
        tti_cpu->fail(716, "the address is not a multiple of the size", {"load_now", file, line});
    return *address;
}

struct marked_float;
// A mark that is still there would be taken for this one's.
template <class T = marked_float> TTI_CPU_INLINE void leave_marked(T *address, float x, TTI_CPU_PLACE) {
    if (address->mark) tti_cpu->fail(719, "nobody has cleared what was left here", {"leave_marked", file, line});
    *address = T{x, 1};
}
template <class T> TTI_CPU_INLINE void clear_mark(T *address) { *address = T{0, 0}; }
// Blocks run one after the other: what is not there now does not come.
template <class T> TTI_CPU_INLINE T look_for_marked(const T *address, TTI_CPU_PLACE) {
    if (!address->mark) tti_cpu->fail(719, "no block before this one has left it", {"look_for_marked", file, line});
    return *address;
}

TTI_CPU_INLINE int thread_again() { return (int)tti_cpu->current->index.x; }

struct bytes16;
template <class T = bytes16> TTI_CPU_INLINE T load_stream(const void *address, TTI_CPU_PLACE) {
    if ((unsigned long)address % 16 != 0)
        tti_cpu->fail(716, "the address is not a multiple of 16", {"load_stream", file, line});
    return *(const T *)address;
}

// MARK: Products

template <class D> struct tti_cpu_tile {
    D *d;
    const uint32_t *a, *b;
};

// The tiles as words of 4 bytes, neighbours in depth, are a: [16, 8], b: [8, 8]; d: [16, 8]. Widened, there is a matrix for
// each of a word's elements. Sums go up in depth.
template <class D, class Input> TTI_CPU_UNCHECKED static void tti_cpu_multiply(void *const *posts, unsigned) {
    typedef tti_cpu_tile<D> Tile;
    typedef D Row __attribute__((vector_size(8 * sizeof(D))));
    const int each = Input::each;
    uint32_t words[24][8];  // 16 rows of a, 8 of b
    D wide[each][24][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const Tile &tile = *(const Tile *)posts[lane];
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < 4; i++) words[g + i % 2 * 8][i / 2 * 4 + t] = tile.a[i];
#pragma unroll
        for (int i = 0; i < 2; i++) words[16 + i * 4 + t][g] = tile.b[i];
#pragma unroll
        for (int i = 0; i < 4; i++) d[g + i / 2 * 8][2 * t + i % 2] = tile.d[i];
    }
    for (int e = 0; e < each; e++)
        for (int i = 0; i < 24; i++)
            for (int j = 0; j < 8; j++) wide[e][i][j] = Input::of(words[i][j], e);
    for (int row = 0; row < 16; row++) {
        Row sum, other;
        __builtin_memcpy(&sum, d[row], sizeof(Row));
#pragma unroll
        for (int k = 0; k < 8; k++)
#pragma unroll
            for (int e = 0; e < each; e++) {
                __builtin_memcpy(&other, wide[e][16 + k], sizeof(Row));
                sum += wide[e][row][k] * other;
            }
        __builtin_memcpy(d[row], &sum, sizeof(Row));
    }
    for (int lane = 0; lane < 32; lane++) {
        const Tile &tile = *(const Tile *)posts[lane];
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < 4; i++) tile.d[i] = d[g + i / 2 * 8][2 * t + i % 2];
    }
}

struct tti_cpu_of_bfloat16 {
    static const int each = 2;
    static float of(uint32_t word, int e) { return __uint_as_float(e ? word & 0xffff0000u : word << 16); }
};
struct tti_cpu_of_int8 {
    static const int each = 4;
    static int of(uint32_t word, int e) { return (signed char)(word >> (8 * e)); }
};

TTI_CPU_INLINE void multiply_tile(float d[4], const uint32_t a[4], const uint32_t b[2], TTI_CPU_PLACE) {
    tti_cpu_tile<float> tile = {d, a, b};
    tti_cpu->meet(0xffffffffu, &tile, tti_cpu_multiply<float, tti_cpu_of_bfloat16>, tti_cpu_aligned,
                  {"multiply_tile", file, line});
}
TTI_CPU_INLINE void multiply_tile(int32_t d[4], const uint32_t a[4], const uint32_t b[2], TTI_CPU_PLACE) {
    tti_cpu_tile<int> tile = {d, a, b};
    tti_cpu->meet(0xffffffffu, &tile, tti_cpu_multiply<int, tti_cpu_of_int8>, tti_cpu_aligned,
                  {"multiply_tile (8-bit integers)", file, line});
}

// MARK: Loads of matrices

struct tti_cpu_matrices {
    uint32_t *r;
    const uint16_t *row;
};

template <bool transposed> TTI_CPU_UNCHECKED static void tti_cpu_load_matrices(void *const *posts, unsigned) {
    for (int lane = 0; lane < 32; lane++)
        for (int matrix = 0; matrix < 4; matrix++) {
            uint32_t pair = 0;
            for (int e = 0; e < 2; e++) {
                int row = lane / 4, column = 2 * (lane % 4) + e;
                const tti_cpu_matrices *from = (const tti_cpu_matrices *)posts[8 * matrix + (transposed ? column : row)];
                pair |= (uint32_t)from->row[transposed ? row : column] << (16 * e);
            }
            ((tti_cpu_matrices *)posts[lane])->r[matrix] = pair;
        }
}

TTI_CPU_INLINE void tti_cpu_check_row(const void *shared, const tti_cpu_place &place) {
    if ((unsigned long)shared % 16 != 0) tti_cpu->fail(716, "the address is not a multiple of 16", place);
    if (!tti_cpu->is_shared(shared, 16)) tti_cpu->fail(700, "the address is not in shared memory", place);
}

TTI_CPU_INLINE void load_matrices(uint32_t r[4], const void *shared, TTI_CPU_PLACE) {
    tti_cpu_matrices post = {r, (const uint16_t *)shared};
    tti_cpu_check_row(shared, {"load_matrices", file, line});
    tti_cpu->meet(0xffffffffu, &post, tti_cpu_load_matrices<false>, tti_cpu_aligned, {"load_matrices", file, line});
}
TTI_CPU_INLINE void load_matrices_transposed(uint32_t r[4], const void *shared, TTI_CPU_PLACE) {
    tti_cpu_matrices post = {r, (const uint16_t *)shared};
    tti_cpu_check_row(shared, {"load_matrices_transposed", file, line});
    tti_cpu->meet(0xffffffffu, &post, tti_cpu_load_matrices<true>, tti_cpu_aligned,
                  {"load_matrices_transposed", file, line});
}

// MARK: Copies and launches

TTI_CPU_INLINE void copy_async(void *shared, const void *global, bool valid = true, TTI_CPU_PLACE) {
    tti_cpu->copy_begin(shared, global, valid, {"copy_async", file, line});
}
TTI_CPU_INLINE void copy_commit() { tti_cpu->copy_commit(); }
template <int left> TTI_CPU_INLINE void copy_wait() { tti_cpu->copy_wait(left); }

TTI_CPU_INLINE bool is_last_block(int32_t *counter, int count) {
    if (atomicAdd(counter, 1) != count - 1) return false;
    *counter = 0;
    return true;
}
TTI_CPU_INLINE void bring_next() {}
TTI_CPU_INLINE void wait_for_inputs() { tti_cpu->waited(); }

// 2^x, results too small for a normal number being 0.
TTI_CPU_INLINE float exp2_fast(float x) {
    float y = exp2f(x);
    return y < 0x1p-126f ? 0.0f : y;
}

TTI_CPU_INLINE float reciprocal_fast(float x) { return 1 / x; }
