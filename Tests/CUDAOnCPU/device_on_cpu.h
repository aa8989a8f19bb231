// CUDA C++ for a processor: what device.cuh needs to compile kernels with a plain C++ compiler. Threads are fibers that the
// driver of this folder runs one after the other; the functions here are those through which threads meet.
//
// No other header is included: kernels must not come to need more than CUDA's compiler gives them.
#pragma once

#include "device_runtime.h"

// MARK: Words of the language

// CUDA's compiler knows this one by itself.
typedef decltype(sizeof(0)) size_t;

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__
// All of a file's shared variables lie in one section, which the driver fills before each block; `used` keeps the compiler
// from concluding anything about what nobody else seems to write.
#define __shared__ static __attribute__((section("tti_shared"), used))

// What is done for a whole warp, or with this file's own data, needs no checks of addresses; accesses for the kernel do.
#define TTI_CPU_UNCHECKED __attribute__((no_sanitize("alignment", "array-bounds")))
#define TTI_CPU_INLINE TTI_CPU_UNCHECKED static inline __attribute__((always_inline, unused))
#define TTI_CPU_ACCESS static inline __attribute__((always_inline, unused))
#define TTI_CPU_EXPORT extern "C" __attribute__((visibility("default")))

static tti_cpu_runtime *tti_cpu;

extern "C" __attribute__((weak, visibility("hidden"))) char __start_tti_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) char __stop_tti_shared[];

TTI_CPU_EXPORT tti_cpu_file tti_cpu_attach(tti_cpu_runtime *runtime) {
    tti_cpu = runtime;
    return {TTI_CPU_STAMP, __start_tti_shared, __stop_tti_shared};
}

#define KERNEL(name, parameters, threads) TTI_CPU_KERNEL(name, parameters, threads)
#define KERNEL_RESIDENT(name, parameters, threads, blocks)                                                  \
    static_assert((blocks) > 0 && (threads) * (blocks) <= 2048, "so many threads do not fit a multiprocessor"); \
    TTI_CPU_KERNEL(name, parameters, threads)
#define TTI_CPU_KERNEL(name, parameters, count)                                                                 \
    static_assert((count) > 0 && (count) <= 1024, "a block has at most 1024 threads");                          \
    static void tti_cpu_body_##name(const parameters &p);                                                       \
    static void tti_cpu_run_##name(const void *p) { tti_cpu_body_##name(*(const parameters *)p); }              \
    TTI_CPU_EXPORT const tti_cpu_kernel tti_cpu_kernel_##name = {tti_cpu_run_##name, sizeof(parameters), count}; \
    static void tti_cpu_body_##name(const parameters &p)

#define SHARED_MEMORY(name) char *const name = (char *)__builtin_assume_aligned(tti_cpu_dynamic_shared(), 128)

TTI_CPU_INLINE tti_cpu_index tti_cpu_thread_index() { return tti_cpu->current->index; }
TTI_CPU_INLINE tti_cpu_index tti_cpu_block_index() { return tti_cpu->block; }
TTI_CPU_INLINE tti_cpu_index tti_cpu_block_size() { return tti_cpu->block_size; }
TTI_CPU_INLINE tti_cpu_index tti_cpu_grid_size() { return tti_cpu->grid_size; }
TTI_CPU_INLINE char *tti_cpu_dynamic_shared() { return tti_cpu->dynamic_shared; }
#define threadIdx (tti_cpu_thread_index())
#define blockIdx (tti_cpu_block_index())
#define blockDim (tti_cpu_block_size())
#define gridDim (tti_cpu_grid_size())
static const int warpSize = 32;

// Default arguments of functions that may wait: the line that calls them.
#define TTI_CPU_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

#include "device_math_on_cpu.h"

// MARK: Barriers

TTI_CPU_INLINE void __syncthreads(TTI_CPU_PLACE) { tti_cpu->barrier(tti_cpu_plain, 0, {"__syncthreads", file, line}); }
TTI_CPU_INLINE int __syncthreads_or(int x, TTI_CPU_PLACE) {
    return (int)tti_cpu->barrier(tti_cpu_or, x != 0, {"__syncthreads_or", file, line});
}
TTI_CPU_INLINE int __syncthreads_and(int x, TTI_CPU_PLACE) {
    return (int)tti_cpu->barrier(tti_cpu_and, x != 0, {"__syncthreads_and", file, line});
}
TTI_CPU_INLINE int __syncthreads_count(int x, TTI_CPU_PLACE) {
    return (int)tti_cpu->barrier(tti_cpu_count, x != 0, {"__syncthreads_count", file, line});
}

static void tti_cpu_nothing(void *const *, unsigned) {}

TTI_CPU_INLINE void __syncwarp(unsigned mask = 0xffffffffu, TTI_CPU_PLACE) {
    tti_cpu->meet(mask, nullptr, tti_cpu_nothing, tti_cpu_without_ended, {"__syncwarp", file, line});
}

// Threads run one at a time and in program order: a fence need only keep the compiler from moving accesses.
TTI_CPU_INLINE void __threadfence() { __asm__ volatile("" ::: "memory"); }
TTI_CPU_INLINE void __threadfence_block() { __asm__ volatile("" ::: "memory"); }
TTI_CPU_INLINE void __threadfence_system() { __asm__ volatile("" ::: "memory"); }
TTI_CPU_INLINE void __nanosleep(unsigned, TTI_CPU_PLACE) { tti_cpu->yield({"__nanosleep", file, line}); }
TTI_CPU_INLINE void __trap(TTI_CPU_PLACE) { tti_cpu->fail(719, "__trap was called", {"__trap", file, line}); }

// MARK: Shuffles

struct tti_cpu_shuffle {
    unsigned long long value, result;
    int source;
};

// A lane outside the mask has no value to give: all bits set, which is no number.
TTI_CPU_UNCHECKED static void tti_cpu_exchange(void *const *posts, unsigned mask) {
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        tti_cpu_shuffle *mine = (tti_cpu_shuffle *)posts[lane];
        bool given = mask >> mine->source & 1;
        mine->result = given ? ((tti_cpu_shuffle *)posts[mine->source])->value : ~0ull;
    }
}

template <class T>
TTI_CPU_INLINE T tti_cpu_from_lane(unsigned mask, T value, int source, const tti_cpu_place &place) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take 4 or 8 bytes");
    tti_cpu_shuffle post;
    post.value = 0;
    __builtin_memcpy(&post.value, &value, sizeof(T));
    post.source = source;
    tti_cpu->meet(mask, &post, tti_cpu_exchange, tti_cpu_usual, place);
    __builtin_memcpy(&value, &post.result, sizeof(T));
    return value;
}

template <class T> TTI_CPU_INLINE T __shfl_sync(unsigned mask, T value, int from, int width = 32, TTI_CPU_PLACE) {
    int lane = (int)tti_cpu->current->lane, first = lane & ~(width - 1);
    return tti_cpu_from_lane(mask, value, first + (from & (width - 1)), {"__shfl_sync", file, line});
}
template <class T> TTI_CPU_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, TTI_CPU_PLACE) {
    int lane = (int)tti_cpu->current->lane, first = lane & ~(width - 1), from = lane - (int)(by & 31);
    return tti_cpu_from_lane(mask, value, from < first ? lane : from, {"__shfl_up_sync", file, line});
}
template <class T> TTI_CPU_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, TTI_CPU_PLACE) {
    int lane = (int)tti_cpu->current->lane, last = lane | (width - 1), from = lane + (int)(by & 31);
    return tti_cpu_from_lane(mask, value, from > last ? lane : from, {"__shfl_down_sync", file, line});
}
template <class T> TTI_CPU_INLINE T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, TTI_CPU_PLACE) {
    int lane = (int)tti_cpu->current->lane, last = lane | (width - 1), from = lane ^ (with & 31);
    return tti_cpu_from_lane(mask, value, from > last ? lane : from, {"__shfl_xor_sync", file, line});
}

// MARK: Votes and reductions


TTI_CPU_UNCHECKED static void tti_cpu_do_ballot(void *const *posts, unsigned mask) {
    unsigned result = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && *(unsigned *)posts[lane]) result |= 1u << lane;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) *(unsigned *)posts[lane] = result;
}

TTI_CPU_INLINE unsigned tti_cpu_ballot(unsigned mask, int x, const tti_cpu_place &place) {
    unsigned post = x != 0;
    tti_cpu->meet(mask, &post, tti_cpu_do_ballot, tti_cpu_usual, place);
    return post;
}
TTI_CPU_INLINE unsigned __ballot_sync(unsigned mask, int x, TTI_CPU_PLACE) {
    return tti_cpu_ballot(mask, x, {"__ballot_sync", file, line});
}
TTI_CPU_INLINE int __any_sync(unsigned mask, int x, TTI_CPU_PLACE) {
    return tti_cpu_ballot(mask, x, {"__any_sync", file, line}) != 0;
}
TTI_CPU_INLINE int __all_sync(unsigned mask, int x, TTI_CPU_PLACE) {
    return tti_cpu_ballot(mask, !x, {"__all_sync", file, line}) == 0;
}
TTI_CPU_INLINE unsigned __activemask() { return 0xffffffffu; }

struct tti_cpu_do_add { template <class T> static T of(T a, T b) { return (T)((unsigned)a + (unsigned)b); } };
struct tti_cpu_do_max { template <class T> static T of(T a, T b) { return a > b ? a : b; } };
struct tti_cpu_do_min { template <class T> static T of(T a, T b) { return a < b ? a : b; } };
struct tti_cpu_do_and { template <class T> static T of(T a, T b) { return a & b; } };
struct tti_cpu_do_or { template <class T> static T of(T a, T b) { return a | b; } };
struct tti_cpu_do_xor { template <class T> static T of(T a, T b) { return a ^ b; } };

template <class Do, class T> TTI_CPU_UNCHECKED static void tti_cpu_do_reduce(void *const *posts, unsigned mask) {
    int first = __builtin_ctz(mask);
    T result = *(T *)posts[first];
    for (int lane = first + 1; lane < 32; lane++)
        if (mask >> lane & 1) result = Do::of(result, *(T *)posts[lane]);
    for (int lane = first; lane < 32; lane++)
        if (mask >> lane & 1) *(T *)posts[lane] = result;
}

template <class Do, class T> TTI_CPU_INLINE T tti_cpu_reduce(unsigned mask, T value, const tti_cpu_place &place) {
    tti_cpu->meet(mask, &value, tti_cpu_do_reduce<Do, T>, tti_cpu_usual, place);
    return value;
}

#define TTI_CPU_REDUCE(name, type)                                                         \
    TTI_CPU_INLINE type __reduce_##name##_sync(unsigned mask, type value, TTI_CPU_PLACE) { \
        return tti_cpu_reduce<tti_cpu_do_##name>(mask, value, {"__reduce_" #name "_sync", file, line}); \
    }
TTI_CPU_REDUCE(add, int)
TTI_CPU_REDUCE(add, unsigned)
TTI_CPU_REDUCE(max, int)
TTI_CPU_REDUCE(max, unsigned)
TTI_CPU_REDUCE(min, int)
TTI_CPU_REDUCE(min, unsigned)
TTI_CPU_REDUCE(and, unsigned)
TTI_CPU_REDUCE(or, unsigned)
TTI_CPU_REDUCE(xor, unsigned)

// MARK: Atomics: one thread runs at a time

TTI_CPU_INLINE void tti_cpu_check_atomic(const void *address, unsigned long bytes, const tti_cpu_place &place) {
    if ((unsigned long)address % bytes != 0) tti_cpu->fail(716, "an address that is not aligned to its type", place);
}

#define TTI_CPU_ATOMIC(name, type, new_value)                                \
    TTI_CPU_INLINE type name(type *address, type value, TTI_CPU_PLACE) {     \
        tti_cpu_check_atomic(address, sizeof(type), {#name, file, line});    \
        type old = *(volatile type *)address;                                \
        *(volatile type *)address = (type)(new_value);                       \
        return old;                                                          \
    }
#define TTI_CPU_ATOMIC_INTEGERS(name, new_value)         \
    TTI_CPU_ATOMIC(name, int, new_value)                 \
    TTI_CPU_ATOMIC(name, unsigned, new_value)            \
    TTI_CPU_ATOMIC(name, unsigned long, new_value)       \
    TTI_CPU_ATOMIC(name, unsigned long long, new_value)
TTI_CPU_ATOMIC(atomicAdd, int, (unsigned)old + (unsigned)value)
TTI_CPU_ATOMIC(atomicAdd, unsigned, old + value)
TTI_CPU_ATOMIC(atomicAdd, unsigned long, old + value)
TTI_CPU_ATOMIC(atomicAdd, unsigned long long, old + value)
TTI_CPU_ATOMIC(atomicAdd, float, old + value)
TTI_CPU_ATOMIC(atomicAdd, double, old + value)
TTI_CPU_ATOMIC(atomicSub, int, (unsigned)old - (unsigned)value)
TTI_CPU_ATOMIC(atomicSub, unsigned, old - value)
TTI_CPU_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
TTI_CPU_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
TTI_CPU_ATOMIC_INTEGERS(atomicOr, old | value)
TTI_CPU_ATOMIC_INTEGERS(atomicAnd, old & value)
TTI_CPU_ATOMIC_INTEGERS(atomicXor, old ^ value)
TTI_CPU_ATOMIC_INTEGERS(atomicExch, value)
TTI_CPU_ATOMIC(atomicExch, float, value)
TTI_CPU_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
TTI_CPU_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)

#define TTI_CPU_COMPARE(type)                                                      \
    TTI_CPU_INLINE type atomicCAS(type *address, type expected, type value, TTI_CPU_PLACE) { \
        tti_cpu_check_atomic(address, sizeof(type), {"atomicCAS", file, line});    \
        type old = *(volatile type *)address;                                      \
        if (old == expected) *(volatile type *)address = value;                    \
        return old;                                                                \
    }
TTI_CPU_COMPARE(int)
TTI_CPU_COMPARE(unsigned)
TTI_CPU_COMPARE(unsigned long)
TTI_CPU_COMPARE(unsigned long long)

#include "device_tiles_on_cpu.h"
