// What every kernel file begins with: the element type, and names for the instructions that CUDA C++ has no words for.
//
// Kernels are compiled by NVRTC, which has no headers: everything that is needed is here. A file is compiled once for each
// type of activations, which it calls `element`: float, or (with TTI_BF16) bfloat16. Sums are float always.
//
// A kernel takes one structure of Parameters.h, which Swift fills in too:
//
//     KERNEL(add, tti_add, 256) {
//         ... p.count ...
//     }
//
// The second half of this file is the only place with assembly. Compiled for a processor (Tests/CUDAOnCPU), another file
// says the same in C++.
#pragma once

#ifdef __CUDACC_RTC__
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#endif

#include "Parameters.h"

#ifdef TTI_ON_CPU
#include "device_on_cpu.h"
#else
#define KERNEL(name, parameters, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ parameters p)
// The same where the compiler should keep `blocks` blocks on a multiprocessor.
#define KERNEL_RESIDENT(name, parameters, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ parameters p)
// The block's dynamic shared memory, aligned to 128 bytes.
#define SHARED_MEMORY(name) extern __shared__ __align__(128) char name[]
#endif

#define INLINE static __device__ __forceinline__
#define INLINE_MEMBER __device__ __forceinline__
#define WARP 32
#define ALL_LANES 0xffffffffu

// An address of Parameters.h as a pointer.
template <class T> INLINE T *pointer(device_address address) { return (T *)address; }

// MARK: Elements

struct bfloat16 {
    uint16_t bits;
};

INLINE float as_float(uint32_t bits) { return __uint_as_float(bits); }
INLINE uint32_t as_bits(float x) { return __float_as_uint(x); }

INLINE float to_float(float x) { return x; }
INLINE float to_float(bfloat16 x) { return as_float((uint32_t)x.bits << 16); }

#ifdef TTI_BF16
typedef bfloat16 element;
#else
typedef float element;
#endif

// How many elements 16 bytes hold.
template <class T> struct lanes_of {
    static const int count = 16 / sizeof(T);
};

// A vector of 16 bytes.
struct __align__(16) bytes16 {
    uint32_t word[4];
};

// A number that another block waits for: it is there when the mark is not 0.
struct __align__(8) marked_float {
    float value;
    uint32_t mark;
};

INLINE float low_half(uint32_t pair) { return as_float(pair << 16); }
INLINE float high_half(uint32_t pair) { return as_float(pair & 0xffff0000u); }

// MARK: Instructions

#ifndef TTI_ON_CPU

// Two numbers rounded to nearest even; the first in the low half.
INLINE uint32_t pack_bfloat16(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Weights that are read once: past the first-level cache.
INLINE bytes16 load_stream(const void *address) {
    bytes16 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
                 : "l"(address));
    return v;
}

// d += a · b for a tile of 16×8, depth 16, bfloat16. With g = lane / 4, t = lane % 4, pairs of neighbouring columns:
// a: (row g, columns 2t), (row g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); b: (rows 2t, column g), (2t + 8, g);
// d: (row g, columns 2t, 2t + 1), (row g + 8, the same).
INLINE void multiply_tile(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same for 8-bit integers, depth 32: four neighbouring columns where bfloat16 has two.
INLINE void multiply_tile(int32_t d[4], const uint32_t a[4], const uint32_t b[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8×8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, and gets of each matrix the
// elements (row l / 4, columns 2 · (l % 4) and the next).
INLINE void load_matrices(uint32_t r[4], const void *shared) {
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed.
INLINE void load_matrices_transposed(uint32_t r[4], const void *shared) {
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Begins to copy 16 bytes from global to shared memory; where `valid` is false, zeros (the address is not read, but must be
// one). Both addresses are multiples of 16.
INLINE void copy_async(void *shared, const void *global, bool valid = true) {
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
}
// Ends a group of copies.
INLINE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `left` groups of this thread are under way.
template <int left> INLINE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory"); }

// a · b + c of two bfloat16 each, rounded once.
INLINE uint32_t multiply_add_pair(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// What an earlier kernel wrote, asked for here and nowhere later, where the compiler would like to have it.
INLINE bytes16 load_now(const bytes16 *address) {
    bytes16 v;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
                 : "l"(address)
                 : "memory");
    return v;
}
INLINE float load_now(const float *address) {
    float v;
    asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(address) : "memory");
    return v;
}
INLINE bfloat16 load_now(const bfloat16 *address) {
    bfloat16 v;
    asm volatile("ld.global.u16 %0, [%1];" : "=h"(v.bits) : "l"(address) : "memory");
    return v;
}

// Counts a block that has written its part; for one thread, after a barrier. Whether it was the last of `count`, in which case
// the counter is 0 again, and what all of them wrote is there for the block's threads after the next barrier. (Ordered by this
// thread for all: a fence of every thread's own takes 0.3 us more.)
INLINE bool is_last_block(int32_t *counter, int count) {
    int32_t before;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
    if (before != count - 1) return false;
    *counter = 0;
    return true;
}

// The next kernel may be brought in as soon as every block has come here; without this, when their inputs are there. Where a
// kernel has asked for its own weights and does little after the wait.
INLINE void bring_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Programmatic dependent launch (sm_90; before, nothing): stands in every kernel, before the first read of anything that an
// earlier kernel wrote; what no kernel writes (weights) may be asked for above it.
INLINE void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// A number for another block. 8 bytes are written and read as one: who sees the mark has the number and needs no fence.
INLINE void leave_marked(marked_float *address, float x) {
    uint64_t both = (uint64_t)1 << 32 | as_bits(x);
    asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(address), "l"(both) : "memory");
}
INLINE void clear_mark(marked_float *address) {
    asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(address), "l"((uint64_t)0) : "memory");
}
INLINE marked_float look_for_marked(const marked_float *address) {
    uint64_t both;
    asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(both) : "l"(address) : "memory");
    return marked_float{as_float((uint32_t)both), (uint32_t)(both >> 32)};
}

// threadIdx.x, as something new: what was made of it before is not kept in registers for its sake.
INLINE int thread_again() {
    int x;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
    return x;
}

// 2^x
INLINE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 1 / x, to about 1 unit in the last place.
INLINE float reciprocal_fast(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif

INLINE bfloat16 to_bfloat16(float x) { return bfloat16{(uint16_t)pack_bfloat16(x, 0)}; }

// The nearest element.
INLINE void assign(float &target, float x) { target = x; }
INLINE void assign(bfloat16 &target, float x) { target = to_bfloat16(x); }

// MARK: Lanes and blocks

INLINE float warp_sum(float x) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
    return x;
}

INLINE float warp_max(float x) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, offset));
    return x;
}

// The sum over a block of a multiple of 32 threads, in an order that depends on nothing but their number; all get it.
INLINE float block_sum(float x) {
    __shared__ float parts[WARP];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    float total = 0;
    for (int i = 0; i < (int)blockDim.x / WARP; i++) total += parts[i];
    return total;
}

INLINE float block_max(float x) {
    __shared__ float parts[WARP];
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    float most = parts[0];
    for (int i = 1; i < (int)blockDim.x / WARP; i++) most = fmaxf(most, parts[i]);
    return most;
}

// MARK: Activations

// Division to 2 units in the last place: exact division takes more time than the memory that these numbers come from.
INLINE float silu(float x) { return __fdividef(x, 1 + __expf(-x)); }

// `Activation` of TTICore, by its number.
INLINE float activated(float x, int activation) {
    switch (activation) {
    case 1: return x < 0 ? 0.0f : x;
    case 2: return 0.5f * x * (1 + erff(x * 0.70710678f));
    case 3: return __fdividef(x, 1 + __expf(-1.5957691f * (x + 0.044715f * x * x * x)));  // tanh as a sigmoid
    case 4: return __fdividef(x, 1 + __expf(-1.702f * x));
    case 5: return silu(x);
    default: return x;
    }
}

// MARK: Vectors of elements

// How many elements a thread reads at once: 16 bytes.
#define LANES (16 / (int)sizeof(element))

template <int count> struct floats {
    float v[count];
    INLINE_MEMBER float &operator[](int i) { return v[i]; }
    INLINE_MEMBER float operator[](int i) const { return v[i]; }
};

// The numbers in 16 bytes of `element`s.
INLINE floats<LANES> unpack(const bytes16 &w) {
    floats<LANES> y;
#ifdef TTI_BF16
    for (int i = 0; i < 4; i++) {
        y[2 * i] = low_half(w.word[i]);
        y[2 * i + 1] = high_half(w.word[i]);
    }
#else
    for (int i = 0; i < 4; i++) y[i] = as_float(w.word[i]);
#endif
    return y;
}

// x · Φ(x). In bfloat16 with erfc(z) as t · 2^(polynomial of t - z² log2 e), t = 1 / (1 + z / 2), whose relative error is
// below 1e-5: half the instructions, and no branches.
INLINE float gelu(float x) {
#ifdef TTI_BF16
    float t = reciprocal_fast(fmaf(fabsf(x), 0.35355339f, 1)), z = x * 0.84932180f;
    float exponent = fmaf(t, 0.334636619f, -1.03741675f);
    exponent = fmaf(t, exponent, 0.701511267f);
    exponent = fmaf(t, exponent, 0.357615155f);
    exponent = fmaf(t, exponent, 1.47112987f);
    exponent = fmaf(t, exponent, -2.82746352f);
    float part = t * exp2_fast(fmaf(-z, z, exponent));
    return x * (x < 0 ? part : 1 - part);
#else
    return activated(x, 2);
#endif
}

// All of them: which activation it is is asked once, and they go side by side.
template <int count> INLINE void activate(floats<count> &x, int activation) {
    switch (activation) {
    case 1:
        for (int j = 0; j < count; j++) x[j] = activated(x[j], 1);
        break;
    case 2:
        for (int j = 0; j < count; j++) x[j] = gelu(x[j]);
        break;
    case 3:
        for (int j = 0; j < count; j++) x[j] = activated(x[j], 3);
        break;
    case 4:
        for (int j = 0; j < count; j++) x[j] = activated(x[j], 4);
        break;
    case 5:
        for (int j = 0; j < count; j++) x[j] = silu(x[j]);
        break;
    }
}

// One element, or 16 bytes of them from a multiple of 16 bytes.
template <int count> INLINE floats<count> load(const float *x) {
    floats<count> y;
    if constexpr (count == 4) {
        bytes16 w = *(const bytes16 *)x;
        for (int i = 0; i < 4; i++) y[i] = as_float(w.word[i]);
    } else {
        for (int i = 0; i < count; i++) y[i] = x[i];
    }
    return y;
}

template <int count> INLINE floats<count> load(const bfloat16 *x) {
    floats<count> y;
    if constexpr (count == 8) {
        bytes16 w = *(const bytes16 *)x;
        for (int i = 0; i < 4; i++) {
            y[2 * i] = low_half(w.word[i]);
            y[2 * i + 1] = high_half(w.word[i]);
        }
    } else {
        for (int i = 0; i < count; i++) y[i] = to_float(x[i]);
    }
    return y;
}

// Constants, which are float beside any elements; whole vectors lie at multiples of 16 bytes.
template <int count> INLINE floats<count> load_floats(const float *x) {
    floats<count> y;
    if constexpr (count % 4 == 0) {
#pragma unroll
        for (int i = 0; i < count; i += 4) {
            floats<4> four = load<4>(x + i);
            for (int j = 0; j < 4; j++) y[i + j] = four[j];
        }
    } else {
        for (int i = 0; i < count; i++) y[i] = x[i];
    }
    return y;
}

template <int count> INLINE void store_floats(float *x, const floats<count> &y) {
    for (int i = 0; i < count; i += 4) {
        bytes16 w;
        for (int j = 0; j < 4; j++) w.word[j] = as_bits(y[i + j]);
        *(bytes16 *)(x + i) = w;
    }
}

template <int count> INLINE void store(float *x, floats<count> y) {
    if constexpr (count == 4) {
        bytes16 w;
        for (int i = 0; i < 4; i++) w.word[i] = as_bits(y[i]);
        *(bytes16 *)x = w;
    } else {
        for (int i = 0; i < count; i++) x[i] = y[i];
    }
}

template <int count> INLINE void store(bfloat16 *x, floats<count> y) {
    if constexpr (count == 8) {
        bytes16 w;
        for (int i = 0; i < 4; i++) w.word[i] = pack_bfloat16(y[2 * i], y[2 * i + 1]);
        *(bytes16 *)x = w;
    } else {
        for (int i = 0; i < count; i++) x[i] = to_bfloat16(y[i]);
    }
}
