// Blocks that wait for each other: kernels and tests.
#pragma once

#include "selftest.h"

static const char blocks_source[] = R"source(
INLINE void wait_for_all(int32_t *counter, int32_t count) {
    __syncthreads();
    if (threadIdx.x == 0) {
        signal(counter);
        wait_for_signal(counter, count);
    }
    __syncthreads();
}

// In each phase every thread tells a number, and makes the next one of what a thread of another block told, and of what it
// and its neighbour keep: in static and dynamic shared memory, in a register, and in memory of its own.
KERNEL(phases, args, 96) {
    __shared__ uint32_t first[96];
    SHARED_MEMORY(memory);
    uint32_t *second = (uint32_t *)memory, *told = pointer<uint32_t>(p.x);
    uint32_t t = threadIdx.x, size = blockDim.x, all = gridDim.x * size, i = blockIdx.x * size + t;
    uint32_t number = i + 1;
    volatile uint32_t own[8];
    first[t] = 3 * i;
    second[t] = 5 * i;
    for (uint32_t k = 0; k < 8; k++) own[k] = i * k;
    for (uint32_t phase = 0; phase < p.count; phase++) {
        told[phase * all + i] = number;
        wait_for_all(pointer<int32_t>(p.other), (int32_t)((phase + 1) * gridDim.x));
        uint32_t other = told[phase * all + (i + size * (phase + 1) + 1) % all];
        uint32_t neighbours = first[(t + 1) % size] + second[(t + 2) % size];
        __syncthreads();
        number = number * 31 + other + neighbours + own[phase % 8];
        own[phase % 8] = number;
        first[t] += number;
        second[t] ^= number;
    }
    pointer<uint32_t>(p.y)[blockIdx.x * size + t] = number;
}

// Copies that are under way while the block waits.
KERNEL(copies_over_waits, args, 64) {
    SHARED_MEMORY(memory);
    bytes16 *stage = (bytes16 *)memory, *y = pointer<bytes16>(p.y);
    uint32_t t = threadIdx.x, i = blockIdx.x * 64 + t, all = gridDim.x * 64;
    copy_async(&stage[t], pointer<const bytes16>(p.x) + i);
    copy_commit();
    copy_async(&stage[64 + t], pointer<const bytes16>(p.x) + all + i);
    copy_commit();
    wait_for_all(pointer<int32_t>(p.other), (int32_t)gridDim.x);
    y[i] = stage[t];  // not there yet
    copy_wait<1>();
    y[all + i] = stage[t];
    wait_for_all(pointer<int32_t>(p.other), (int32_t)gridDim.x * 2);
    y[2 * all + i] = stage[64 + t];  // not there yet
    copy_wait<0>();
    y[3 * all + i] = stage[64 + t];
}
// A queue of copies that is never empty.
KERNEL(queue_of_copies, args, 64) {
    SHARED_MEMORY(memory);
    bytes16 *stage = (bytes16 *)memory + threadIdx.x * 4;
    const bytes16 *x = pointer<const bytes16>(p.x) + threadIdx.x * p.count;
    uint32_t sum = 0;
    for (int i = 0; i < p.count + 3; i++) {
        if (i < p.count) copy_async(&stage[i % 4], &x[i]);
        copy_commit();
        if (i < 3) continue;
        copy_wait<3>();
        sum = sum * 31 + stage[(i - 3) % 4].word[0];
    }
    pointer<uint32_t>(p.y)[threadIdx.x] = sum;
}

// Each block waits for the one before it, in two threads: the other lanes of the first one's warp wait at a shuffle, those of
// the second one's sleep; a third warp has ended. The counters are left as they were found.
KERNEL(chain, args, 96) {
    __shared__ volatile int flag;
    int t = threadIdx.x, warp = t / 32, b = blockIdx.x;
    uint32_t *values = pointer<uint32_t>(p.y);
    int32_t *counters = pointer<int32_t>(p.other);
    if (warp == 2) return;
    if (t == 0) flag = 0;
    __syncthreads();
    uint32_t x = 0;
    if (t % 32 == 0) {
        if (b > 0) wait_for_signal(&counters[b * 2 + warp], 1);
        counters[b * 2 + warp] = 0;
        x = b > 0 ? values[(b - 1) * 2 + warp] : 7;
        if (t == 32) flag = 1;
    } else if (warp == 1) {
        while (!flag) __nanosleep(100);
    }
    x = __shfl_sync(ALL_LANES, x, 0);
    x = __reduce_add_sync(ALL_LANES, 3 * x + (uint32_t)t);
    if (t % 32 != 0) return;
    values[b * 2 + warp] = x;
    if (b + 1 < (int)gridDim.x) signal(&counters[(b + 1) * 2 + warp]);
}

KERNEL(arrivals, args, 32) {
    if (threadIdx.x != 0) return;
    int number = (int)((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
    pointer<int>(p.y)[number] = atomicAdd(pointer<int>(p.other), 1);
}

KERNEL(wild_after_wait, args, 64) {
    wait_for_all(pointer<int32_t>(p.other), (int32_t)gridDim.x);
    if (blockIdx.x == 3 && threadIdx.x == 5) pointer<float>(p.x)[0] = 1;
}
KERNEL(beside_before_wait, args, 64) {
    SHARED_MEMORY(memory);
    if (blockIdx.x == 2) memory[threadIdx.x] = 1;
    wait_for_all(pointer<int32_t>(p.other), (int32_t)gridDim.x);
}
KERNEL(counter_in_shared, args, 32) {
    __shared__ int32_t counter;
    signal(&counter);
}
KERNEL(misaligned_counter, args, 32) { wait_for_signal(pointer<int32_t>(p.y + 2), 1); }
KERNEL(wild_counter, args, 32) { wait_for_signal(pointer<int32_t>(p.x), 1); }
)source";

static const char *const block_orders[] = {"", "backward", "1", "2"};
static void set_order(const char *order) { setenv("TTI_CUDA_ON_CPU_ORDER", order, 1); }


static ctti_address zeros(size_t bytes) {
    ctti_address address = allocate(bytes);
    OK(cuda.fill(address, 0, bytes, stream));
    return address;
}

static std::vector<uint32_t> phases_result(uint32_t blocks, uint32_t size, uint32_t phases) {
    uint32_t all = blocks * size;
    std::vector<uint32_t> number(all), first(all), second(all), own(all * 8);
    for (uint32_t i = 0; i < all; i++) {
        number[i] = i + 1, first[i] = 3 * i, second[i] = 5 * i;
        for (uint32_t k = 0; k < 8; k++) own[i * 8 + k] = i * k;
    }
    for (uint32_t phase = 0; phase < phases; phase++) {
        std::vector<uint32_t> told = number, before = first, also = second;
        for (uint32_t i = 0; i < all; i++) {
            uint32_t t = i % size, begin = i - t;
            uint32_t neighbours = before[begin + (t + 1) % size] + also[begin + (t + 2) % size];
            number[i] = number[i] * 31 + told[(i + size * (phase + 1) + 1) % all] + neighbours + own[i * 8 + phase % 8];
            own[i * 8 + phase % 8] = number[i];
            first[i] += number[i];
            second[i] ^= number[i];
        }
    }
    return number;
}

static void phases() {
    const uint32_t blocks = 132, size = 96, count = 6;
    auto expected = phases_result(blocks, size, count);
    for (const char *order : block_orders) {
        set_order(order);
        ctti_address y = allocate(blocks * size * 4), told = allocate(blocks * size * count * 4), counter = zeros(4);
        OK(launch("phases", {y, told, counter, count, 0}, blocks, size, size * 4));
        CHECK(download<uint32_t>(y, blocks * size) == expected);
        CHECK(download<int32_t>(counter, 1)[0] == (int32_t)(blocks * count));
    }
}

static void copies_over_waits() {
    const uint32_t blocks = 20, all = blocks * 64;
    std::vector<uint32_t> x(2 * all * 4);
    for (size_t i = 0; i < x.size(); i++) x[i] = (uint32_t)i;
    ctti_address source = upload(x);
    for (const char *order : block_orders) {
        set_order(order);
        ctti_address y = allocate(4 * all * 16), counter = zeros(4);
        OK(launch("copies_over_waits", {y, source, counter, 0, 0}, blocks, 64, 2048));
        auto result = download<uint32_t>(y, 4 * all * 4);
        for (uint32_t i = 0; i < all * 4; i++) {
            CHECK(result[i] == 0xffffffffu && result[2 * all * 4 + i] == 0xffffffffu);
            CHECK(result[all * 4 + i] == i && result[3 * all * 4 + i] == all * 4 + i);
        }
    }
}

static void queue_of_copies() {
    const uint32_t count = 1000;
    std::vector<uint32_t> x(64 * count * 4);
    for (size_t i = 0; i < x.size(); i++) x[i] = (uint32_t)(i * i);
    ctti_address y = allocate(256);
    OK(launch("queue_of_copies", {y, upload(x), 0, count, 0}, 1, 64, 4096));
    auto result = download<uint32_t>(y, 64);
    for (uint32_t thread = 0; thread < 64; thread++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < count; i++) sum = sum * 31 + x[(thread * count + i) * 4];
        CHECK(result[thread] == sum);
    }
}

static void chain() {
    const uint32_t blocks = 132;
    ctti_address counters = zeros(blocks * 8);
    for (const char *order : block_orders) {
        set_order(order);
        ctti_address y = allocate(blocks * 8);
        OK(launch("chain", {y, 0, counters, 0, 0}, blocks, 96));
        auto result = download<uint32_t>(y, blocks * 2);
        for (uint32_t warp = 0; warp < 2; warp++)
            for (uint32_t b = 0, x = 7; b < blocks; b++) {
                x = 96 * x + 496 + 1024 * warp;
                CHECK(result[b * 2 + warp] == x);
            }
    }
    // Where few blocks fit, one that begins late must not be waited for.
    setenv("TTI_CUDA_ON_CPU_MULTIPROCESSORS", "8", 1);
    int count;
    OK(cuda.device_attribute(&count, 16, 0));
    CHECK(count == 8);
    ctti_address y = allocate(blocks * 8);
    set_order("");
    OK(launch("chain", {y, 0, counters, 0, 0}, blocks, 96));
    set_order("backward");
    CHECK_STATUS(launch("chain", {y, 0, counters, 0, 0}, blocks, 96), 719);
}

static void arrivals() {
    const int blocks = 3 * 4 * 5;
    ctti_handle function;
    OK(cuda.function(&function, module, "arrivals"));
    for (const char *order : block_orders) {
        set_order(order);
        Arguments arguments = {allocate(blocks * 4), 0, zeros(4), 0, 0};
        void *parameters[] = {&arguments};
        ctti_launch_configuration configuration = {3, 4, 5, 32, 1, 1, 0, stream, nullptr, 0};
        OK(cuda.launch(&configuration, function, parameters, nullptr));
        auto result = download<int>(arguments.y, blocks);
        bool in_order = true, backward = true;
        std::vector<int> seen(blocks);
        for (int i = 0; i < blocks; i++) {
            CHECK(result[i] >= 0 && result[i] < blocks && seen[result[i]]++ == 0);
            in_order = in_order && result[i] == i;
            backward = backward && result[i] == blocks - 1 - i;
        }
        CHECK(in_order == !*order && backward == (strcmp(order, "backward") == 0));
    }
}

// More blocks than fit the device, and a count that nobody brings.
static void too_many_blocks() {
    ctti_address y = allocate(133 * 32 * 4), told = allocate(133 * 32 * 4), counter = zeros(4);
    CHECK_STATUS(launch("phases", {y, told, counter, 1, 0}, 133, 32, 128), 719);
}

static void missing_count() {
    ctti_address y = allocate(5 * 32 * 4), told = allocate(5 * 32 * 4), counter = allocate(4);
    OK(cuda.fill(counter, 0xff, 4, stream));
    CHECK_STATUS(launch("phases", {y, told, counter, 1, 0}, 5, 32, 128), 719);
}

// Another block's fault while blocks wait.
static void fault_among_waits(const char *kernel, unsigned shared, int status) {
    ctti_address y = allocate(128), counter = zeros(4);
    CHECK_STATUS(launch(kernel, {y, 0, counter, 0, 0}, 5, 64, shared), status);
    CHECK_STATUS(cuda.fill(y, 0, 16, stream), status);
}

static const struct {
    const char *name;
    void (*test)();
    const char *text;
} block_tests[] = {
    {"phases", phases, ""},
    {"copies_over_waits", copies_over_waits, ""},
    {"queue_of_copies", queue_of_copies, ""},
    {"chain", chain, "the count is 0, not 1, and no block can go on: 8 wait, and 124 cannot begin"},
    {"arrivals", arrivals, ""},
    {"too_many_blocks", too_many_blocks, "the count is 132, not 133, and no block can go on: 132 wait, and 1 cannot begin"},
    {"missing_count", missing_count,
     "and no block can go on: 5 wait\n    warp 0: lanes 00000001 wait at wait_for_signal, selftest.cu:"},
    {"wild_after_wait", [] { fault_among_waits("wild_after_wait", 0, 700); },
     "kernel wild_after_wait, block (3, 0, 0), thread (5, 0, 0): an access to address"},
    {"beside_before_wait", [] { fault_among_waits("beside_before_wait", 40, 700); },
     "kernel beside_before_wait, block (2, 0, 0): wrote beside its 40 bytes"},
};
