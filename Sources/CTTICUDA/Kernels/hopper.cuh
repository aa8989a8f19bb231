// What Hopper alone has words for (compute capability 9.0): copies of boxes of tensors to shared memory that end at barriers
// there, and back, and products of matrices in shared memory that go on by themselves.
//
// A box of operands has rows of 128 bytes, 64 bfloat16 or 128 int8 of the depth. The eight 16-byte pieces of a row stand in the
// order piece XOR (row mod 8): the copies write them so, and the products read them so; boxes begin at multiples of 1024
// bytes. A box of results has rows of 64 bytes, whose four pieces stand in the order piece XOR (row / 2 mod 4).
#pragma once
#include "device.cuh"

// bfloat16 of a box's row, and its bytes.
#define BOX_WIDTH 64
#define BOX_ROW_BYTES 128
#define RESULT_WIDTH 32
#define RESULT_ROW_BYTES 64

// What products of operands add up to.
template <class operand> struct sum_of_products {
    typedef float type;
};
template <> struct sum_of_products<int8_t> {
    typedef int32_t type;
};

// Where a piece of a row of results is, from the beginning of its box.
INLINE int result_place(int row, int piece) { return row * RESULT_ROW_BYTES + (piece ^ (row >> 1 & 3)) * 16; }

#ifdef TTI_ON_CPU
#include "hopper_on_cpu.h"
#else

// The block's dynamic shared memory, aligned as boxes are.
#define SHARED_BOXES(name) extern __shared__ __align__(1024) char name[]

INLINE uint32_t shared_address(const void *shared) { return (uint32_t)__cvta_generic_to_shared(shared); }

// MARK: Barriers

// A phase of a barrier ends when so many have arrived, and all bytes that were announced have landed.
INLINE void begin_barrier(uint64_t *barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// What begin_barrier did is seen by copies.
INLINE void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

INLINE void arrive(uint64_t *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and announces bytes of copies.
INLINE void arrive_expecting(uint64_t *barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}
// Waits for the end of a phase: of the even ones (0, 2, …) with `odd` 0, of the odd ones with 1.
INLINE void wait_barrier(uint64_t *barrier, uint32_t odd) {
    uint32_t address = shared_address(barrier), is_done;
    do {
        asm volatile("{\n.reg .pred done;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, done;\n}"
                     : "=r"(is_done)
                     : "r"(address), "r"(odd)
                     : "memory");
    } while (!is_done);
}

// Waits for `threads` threads of the block, which come to the barrier of this number (1 to 15).
INLINE void wait_for_threads(int number, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// MARK: Copies

INLINE void expect_map(const tti_tensor_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"((uint64_t)map) : "memory");
}
// Begins to copy the box at these channels and this pixel; what is outside the tensor becomes zeros.
INLINE void copy_box(
    void *shared, const tti_tensor_map *map, uint64_t *barrier, int channel, int x, int y, int image) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
                     shared_address(shared)),
                 "l"((uint64_t)map), "r"(shared_address(barrier)), "r"(channel), "r"(x), "r"(y), "r"(image)
                 : "memory");
}

// What this thread wrote to shared memory is seen by copies that begin after a barrier of the threads.
INLINE void show_to_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Begins to copy a box back; what is outside the tensor goes nowhere.
INLINE void store_box(const tti_tensor_map *map, const void *shared, int channel, int x, int y, int image) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"((uint64_t)map),
                 "r"(shared_address(shared)), "r"(channel), "r"(x), "r"(y), "r"(image)
                 : "memory");
}
// Waits until the boxes that this thread stores have been read: then the block may end.
INLINE void wait_for_stores() {
    asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;" ::: "memory");
}

// MARK: Products

// Rows of boxes in shared memory, as products find them.
typedef uint64_t box_rows;
INLINE box_rows rows_at(const void *shared) {
    return (uint64_t)((shared_address(shared) & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
// The same rows, `bytes` further on in the depth.
INLINE box_rows further(box_rows rows, int bytes) { return rows + (bytes >> 4); }

// Sixteen rows of boxes in shared memory, of 64 columns each, `box_bytes` from one box to the next.
typedef uint64_t box_columns;
INLINE box_columns columns_at(const void *shared, int box_bytes) {
    return (uint64_t)((shared_address(shared) & 0x3ffff) >> 4) | (uint64_t)(box_bytes >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

// Stands before the first product after the sums were touched.
INLINE void multiply_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Ends a group of products.
INLINE void multiply_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most `left` groups of this warpgroup are under way; the sums d are of those that are done.
template <int left> INLINE void multiply_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory"); }
template <int left, int count> INLINE void multiply_wait(float (&d)[count]) {
    multiply_wait<left>();
    // No use of them goes before.
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int left, int count> INLINE void multiply_wait(int32_t (&d)[count]) {
    multiply_wait<left>();
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+r"(d[i])::"memory");
}

#define PLACES_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define PLACES_1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define PLACES_2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define PLACES_3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define PLACES_4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define PLACES_5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define PLACES_6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define PLACES_7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define PLACES_8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define PLACES_9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define PLACES_10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define PLACES_11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define PLACES_12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define PLACES_13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define PLACES_14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define PLACES_15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define TO_8 PLACES_0
#define TO_16 TO_8 ", " PLACES_1
#define TO_20 TO_16 ", %16, %17, %18, %19"
#define TO_24 TO_16 ", " PLACES_2
#define TO_32 TO_24 ", " PLACES_3
#define TO_40 TO_32 ", " PLACES_4
#define TO_48 TO_40 ", " PLACES_5
#define TO_56 TO_48 ", " PLACES_6
#define TO_64 TO_56 ", " PLACES_7
#define TO_72 TO_64 ", " PLACES_8
#define TO_80 TO_72 ", " PLACES_9
#define TO_88 TO_80 ", " PLACES_10
#define TO_96 TO_88 ", " PLACES_11
#define TO_104 TO_96 ", " PLACES_12
#define TO_112 TO_104 ", " PLACES_13
#define TO_120 TO_112 ", " PLACES_14
#define TO_128 TO_120 ", " PLACES_15
#define SUMS_8(kind, i)                                                                                                \
    kind(d[i]), kind(d[i + 1]), kind(d[i + 2]), kind(d[i + 3]), kind(d[i + 4]), kind(d[i + 5]), kind(d[i + 6]), \
        kind(d[i + 7])

#define SUMS_TO_8(kind) SUMS_8(kind, 0)
#define SUMS_TO_16(kind) SUMS_TO_8(kind), SUMS_8(kind, 8)
#define SUMS_TO_20(kind) SUMS_TO_16(kind), kind(d[16]), kind(d[17]), kind(d[18]), kind(d[19])
#define SUMS_TO_24(kind) SUMS_TO_16(kind), SUMS_8(kind, 16)
#define SUMS_TO_32(kind) SUMS_TO_24(kind), SUMS_8(kind, 24)
#define SUMS_TO_40(kind) SUMS_TO_32(kind), SUMS_8(kind, 32)
#define SUMS_TO_48(kind) SUMS_TO_40(kind), SUMS_8(kind, 40)
#define SUMS_TO_56(kind) SUMS_TO_48(kind), SUMS_8(kind, 48)
#define SUMS_TO_64(kind) SUMS_TO_56(kind), SUMS_8(kind, 56)
#define SUMS_TO_72(kind) SUMS_TO_64(kind), SUMS_8(kind, 64)
#define SUMS_TO_80(kind) SUMS_TO_72(kind), SUMS_8(kind, 72)
#define SUMS_TO_88(kind) SUMS_TO_80(kind), SUMS_8(kind, 80)
#define SUMS_TO_96(kind) SUMS_TO_88(kind), SUMS_8(kind, 88)
#define SUMS_TO_104(kind) SUMS_TO_96(kind), SUMS_8(kind, 96)
#define SUMS_TO_112(kind) SUMS_TO_104(kind), SUMS_8(kind, 104)
#define SUMS_TO_120(kind) SUMS_TO_112(kind), SUMS_8(kind, 112)
#define SUMS_TO_128(kind) SUMS_TO_120(kind), SUMS_8(kind, 120)

// Begins d += a · bᵀ for 64 rows of a, `columns` rows of b, depth 16 (or, with `adds` 0, d = a · bᵀ); done by the four warps of
// a warpgroup. In warp w, with g = lane / 4, t = lane % 4: d[4j], d[4j + 1] are of row 16w + g, columns 8j + 2t and the next;
// d[4j + 2], d[4j + 3] the same of row 16w + g + 8.
#define MULTIPLY_SHARED(columns, count, a_place, b_place, adds_place, places, sums)                              \
    INLINE void multiply_shared(float(&d)[count], box_rows a, box_rows b, int adds) {                             \
        asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " adds_place ", 0;\n"                               \
                     "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" places "}, " a_place      \
                     ", " b_place ", adds, 1, 1, 0, 0;\n}"                                                       \
                     : sums("+f")                                                                                 \
                     : "l"(a), "l"(b), "r"(adds));                                                                \
    }                                                                                                             \
    /* d = a · bᵀ, whatever d was: the compiler need not wait for it. */                                          \
    INLINE void multiply_shared_first(float(&d)[count], box_rows a, box_rows b) {                                 \
        asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " adds_place ", 0;\n"                               \
                     "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" places "}, " a_place      \
                     ", " b_place ", adds, 1, 1, 0, 0;\n}"                                                       \
                     : sums("=f")                                                                                 \
                     : "l"(a), "l"(b), "n"(0));                                                                   \
    }
// The same of 8-bit integers, depth 32.
#define MULTIPLY_SHARED_INT8(columns, count, a_place, b_place, adds_place, places, sums)                         \
    INLINE void multiply_shared(int32_t(&d)[count], box_rows a, box_rows b, int adds) {                           \
        asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, " adds_place ", 0;\n"                               \
                     "wgmma.mma_async.sync.aligned.m64n" #columns "k32.s32.s8.s8 {" places "}, " a_place          \
                     ", " b_place ", adds;\n}"                                                                   \
                     : sums("+r")                                                                                 \
                     : "l"(a), "l"(b), "r"(adds));                                                                \
    }
#define MULTIPLY_BOTH(...)       \
    MULTIPLY_SHARED(__VA_ARGS__) \
    MULTIPLY_SHARED_INT8(__VA_ARGS__)
MULTIPLY_BOTH(64, 32, "%32", "%33", "%34", TO_32, SUMS_TO_32)
MULTIPLY_BOTH(96, 48, "%48", "%49", "%50", TO_48, SUMS_TO_48)
MULTIPLY_BOTH(128, 64, "%64", "%65", "%66", TO_64, SUMS_TO_64)
MULTIPLY_BOTH(160, 80, "%80", "%81", "%82", TO_80, SUMS_TO_80)
MULTIPLY_BOTH(192, 96, "%96", "%97", "%98", TO_96, SUMS_TO_96)
MULTIPLY_BOTH(256, 128, "%128", "%129", "%130", TO_128, SUMS_TO_128)

// Begins d += a · b, with a in registers as multiply_tile (device.cuh) has it, and b with its columns side by side.
#define MULTIPLY_REGISTERS(columns, count, a_places, b_place, places, sums)                                      \
    INLINE void multiply_registers(float(&d)[count], const uint32_t(&a)[4], box_columns b) {                      \
        asm volatile("{\n.reg .pred adds;\nsetp.eq.b32 adds, 0, 0;\n"                                             \
                     "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" places "}, {" a_places    \
                     "}, " b_place ", adds, 1, 1, 1;\n}"                                                         \
                     : sums("+f")                                                                                 \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                        \
    }
MULTIPLY_REGISTERS(40, 20, "%20, %21, %22, %23", "%24", TO_20, SUMS_TO_20)
MULTIPLY_REGISTERS(64, 32, "%32, %33, %34, %35", "%36", TO_32, SUMS_TO_32)
MULTIPLY_REGISTERS(80, 40, "%40, %41, %42, %43", "%44", TO_40, SUMS_TO_40)
MULTIPLY_REGISTERS(128, 64, "%64, %65, %66, %67", "%68", TO_64, SUMS_TO_64)
MULTIPLY_REGISTERS(160, 80, "%80, %81, %82, %83", "%84", TO_80, SUMS_TO_80)

#endif
