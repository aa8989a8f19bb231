// The device's memory. Each allocation is a mapping of its own that ends where its last 16 bytes end, with pages that fault
// on both sides; it begins with all bits set, which no number is. Freed memory stays a hole that faults for long.
#include "execution.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <deque>
#include <map>

namespace {

const size_t page = 4096, guard = 16 * page, beside = 64;
const unsigned char mark = 0xa5;

struct Allocation {
    char *mapping;
    size_t mapping_bytes, bytes;
};

std::map<uint64_t, Allocation> allocations, pinned;
std::deque<Allocation> holes;
size_t used;

size_t total_memory() {
    const char *text = getenv("TTI_CUDA_ON_CPU_MEMORY");
    return text && *text ? strtoull(text, nullptr, 10) : (size_t)8 << 30;
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Large memory is a few megabytes of set bits, mapped again and again: it takes room only where it is written.
bool fill_large(char *begin, size_t bytes) {
    const size_t chunk = 4 << 20;
    static int file = -1;
    if (file < 0) {
        file = memfd_create("filled", MFD_CLOEXEC);
        void *memory = file >= 0 && ftruncate(file, chunk) == 0
                           ? mmap(nullptr, chunk, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
        if (memory == MAP_FAILED) return false;
        memset(memory, 0xff, chunk);
        munmap(memory, chunk);
    }
    for (size_t at = 0; at < bytes; at += chunk) {
        size_t here = bytes - at < chunk ? bytes - at : chunk;
        if (mmap(begin + at, here, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) == MAP_FAILED)
            return false;
    }
    return true;
}

const std::pair<const uint64_t, Allocation> *find(const std::map<uint64_t, Allocation> &in, uint64_t address) {
    auto next = in.upper_bound(address);
    return next == in.begin() ? nullptr : &*std::prev(next);
}

bool contains(const std::map<uint64_t, Allocation> &in, uint64_t address, size_t bytes) {
    auto *entry = find(in, address);
    return entry && address - entry->first <= entry->second.bytes &&
           bytes <= entry->second.bytes - (address - entry->first);
}

bool is_intact(uint64_t address, const Allocation &allocation) {
    const unsigned char *begin = (const unsigned char *)address, *end = begin + allocation.bytes;
    const unsigned char *stop = begin + round_up(allocation.bytes, 16);
    const char *text = nullptr;
    const unsigned char *first = (unsigned char *)allocation.mapping + guard;
    for (const unsigned char *at = begin - 1; at >= first && at >= begin - beside; at--)
        if (*at != mark) text = "before the beginning";
    for (const unsigned char *at = end; at < stop; at++)
        if (*at != mark) text = "after the end";
    if (text)
        fprintf(stderr, "CUDA on a processor: something was written %s of the allocation of %zu bytes at %#llx\n", text,
                allocation.bytes, (unsigned long long)address);
    return !text;
}

void release(const Allocation &allocation) {
    // A hole costs no memory, only an entry in the kernel's table of mappings.
    mmap(allocation.mapping, allocation.mapping_bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    holes.push_back(allocation);
    if (holes.size() > 4096) {
        munmap(holes.front().mapping, holes.front().mapping_bytes);
        holes.pop_front();
    }
}

char *map(size_t bytes, Allocation &allocation) {
    size_t inside = round_up(bytes, page);
    allocation = {nullptr, inside + 2 * guard, bytes};
    void *memory = mmap(nullptr, allocation.mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    allocation.mapping = (char *)memory;
    char *first = allocation.mapping + guard, *begin = first + inside - round_up(bytes, 16);
    bool done = inside > ((size_t)16 << 20)
                    ? fill_large(first, inside)
                    : mprotect(first, inside, PROT_READ | PROT_WRITE) == 0 && memset(begin, 0xff, bytes);
    if (!done) {
        munmap(memory, allocation.mapping_bytes);
        return nullptr;
    }
    size_t before = (size_t)(begin - first);
    memset(begin - (before < beside ? before : beside), mark, before < beside ? before : beside);
    memset(begin + bytes, mark, round_up(bytes, 16) - bytes);
    return begin;
}

}  // namespace

bool is_device_memory(uint64_t address, size_t bytes) { return contains(allocations, address, bytes); }
bool is_pinned_memory(const void *address, size_t bytes) { return contains(pinned, (uint64_t)address, bytes); }

bool is_memory_intact() {
    for (auto &[address, allocation] : allocations)
        if (!is_intact(address, allocation)) return false;
    return true;
}

void release_all_memory() {
    for (auto &[address, allocation] : allocations) release(allocation);
    allocations.clear();
    used = 0;
}

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER_CONTEXT
    *total = total_memory();
    *free = *total > used ? *total - used : 0;
    return success;
}

EXPORT int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    ENTER_CONTEXT
    if (int status = refuse_in_capture(__func__)) return status;
    if (bytes == 0) return complain(invalid_value, __func__, "0 bytes");
    if (bytes > total_memory() || used > total_memory() - bytes) return out_of_memory;
    Allocation allocation;
    char *begin = map(bytes, allocation);
    if (!begin) return out_of_memory;
    used += bytes;
    *address = (uint64_t)begin;
    allocations[*address] = allocation;
    return success;
}

EXPORT int cuMemFree_v2(uint64_t address) {
    ENTER_CONTEXT
    if (address == 0) return success;
    if (int status = refuse_in_capture(__func__)) return status;
    if (int status = finish_all()) return status;
    auto entry = allocations.find(address);
    if (entry == allocations.end())
        return complain(invalid_value, __func__, "%#llx is not the beginning of an allocation",
                        (unsigned long long)address);
    bool intact = is_intact(address, entry->second);
    used -= entry->second.bytes;
    release(entry->second);
    allocations.erase(entry);
    return intact ? success : sticky = illegal_address;
}

EXPORT int cuMemHostAlloc(void **address, size_t bytes, unsigned) {
    ENTER_CONTEXT
    if (int status = refuse_in_capture(__func__)) return status;
    if (bytes == 0) return complain(invalid_value, __func__, "0 bytes");
    Allocation allocation;
    char *begin = map(round_up(bytes, page), allocation);  // aligned to pages, as the driver's is
    if (!begin) return out_of_memory;
    *address = begin;
    pinned[(uint64_t)begin] = allocation;
    return success;
}

EXPORT int cuMemFreeHost(void *address) {
    ENTER_CONTEXT
    if (int status = refuse_in_capture(__func__)) return status;
    if (int status = finish_all()) return status;
    auto entry = pinned.find((uint64_t)address);
    if (entry == pinned.end()) return complain(invalid_value, __func__, "%p is no memory of cuMemHostAlloc", address);
    release(entry->second);
    pinned.erase(entry);
    return success;
}

// MARK: Shared memory

static const size_t shared_room = 256 << 10, shared_beside = 128;

char *place_shared(unsigned bytes) {
    static char *room;
    if (!room) {
        void *memory = mmap(nullptr, shared_room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) abort();
        room = (char *)memory + page;
        mprotect(room, shared_room, PROT_READ | PROT_WRITE);
    }
    return room + shared_room - round_up(bytes, shared_beside);
}

void fill_shared(char *memory, unsigned bytes) {
    memset(memory - shared_beside, mark, shared_beside);
    memset(memory, 0xff, bytes);
    memset(memory + bytes, mark, round_up(bytes, shared_beside) - bytes);
}

bool is_shared_intact(const char *memory, unsigned bytes) {
    for (size_t i = 1; i <= shared_beside; i++)
        if ((unsigned char)memory[-(long)i] != mark) return false;
    for (size_t i = bytes; i < round_up(bytes, shared_beside); i++)
        if ((unsigned char)memory[i] != mark) return false;
    return true;
}
