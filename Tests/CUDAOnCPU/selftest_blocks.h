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
    pointer<uint32_t>(p.y)[i] = number;
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
)source";

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
    for (const char *order : {"", "backward", "1", "2"}) {
        setenv("TTI_CUDA_ON_CPU_ORDER", order, 1);
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
    for (const char *order : {"", "backward", "1", "2"}) {
        setenv("TTI_CUDA_ON_CPU_ORDER", order, 1);
        ctti_address y = allocate(4 * all * 16), counter = zeros(4);
        OK(launch("copies_over_waits", {y, source, counter, 0, 0}, blocks, 64, 2048));
        auto result = download<uint32_t>(y, 4 * all * 4);
        for (uint32_t i = 0; i < all * 4; i++) {
            CHECK(result[i] == 0xffffffffu && result[2 * all * 4 + i] == 0xffffffffu);
            CHECK(result[all * 4 + i] == i && result[3 * all * 4 + i] == all * 4 + i);
        }
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
