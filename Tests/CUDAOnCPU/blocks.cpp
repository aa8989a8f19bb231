// Running a launch: blocks one after the other. A block all of whose threads wait for others, at least one of them for a
// count in global memory that other blocks bring (`wait_for_signal`), is put away, and another goes on: so many blocks can be
// under way as the device has multiprocessors.
//
// There is one range of shared memory, one set of threads and one pool of stacks, and pointers to all of them: what a block
// that is put away has in there is copied out, and later back to the same place.
#include "block.h"
#include "modules.h"
#include "state.h"

#include <stdio.h>
#include <string.h>
#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

const Launch *current_launch;
const tti_cpu_file *current_file;
char *shared_memory;

namespace {

bool has_waited;

void waited() { has_waited = true; }

// MARK: Blocks that are put away

struct SavedBlock {
    tti_cpu_index index;
    tti_cpu_thread *last;
    Block block;
    std::vector<Thread> threads;
    std::vector<char> warps, stacks, dynamic_shared, static_shared;

    bool can_go_on() const {
        for (const Wait &wait : block.waits)
            if (wait.is_over()) return true;
        return false;
    }
};

// They take turns: who was put away last is the last one.
std::vector<std::unique_ptr<SavedBlock>> saved, unused;

// Threads that have begun and not ended.
template <class Do> void for_threads_under_way(Do what) {
    for (int w = 0; w < warp_count; w++)
        for (unsigned lanes = warps[w].started & ~warps[w].ended; lanes; lanes &= lanes - 1)
            what(threads[w * 32 + __builtin_ctz(lanes)]);
}

void append(std::vector<char> &to, const void *from, size_t bytes) {
    to.insert(to.end(), (const char *)from, (const char *)from + bytes);
}

// A warp, and of the places for meetings those in use.
void copy_warps(std::vector<char> &from_or_to, bool back) {
    const char *at = from_or_to.data();
    auto copy = [&](void *part, size_t bytes) {
        if (!back) return append(from_or_to, part, bytes);
        memcpy(part, at, bytes);
        at += bytes;
    };
    for (int w = 0; w < warp_count; w++) {
        copy(&warps[w], offsetof(Warp, meetings));
        for (unsigned open = warps[w].open; open; open &= open - 1)
            copy(&warps[w].meetings[__builtin_ctz(open)], sizeof(Meeting));
    }
}

void put_away() {
    if (unused.empty()) unused.push_back(std::make_unique<SavedBlock>());
    saved.push_back(std::move(unused.back()));
    unused.pop_back();
    SavedBlock &mine = *saved.back();
    mine.index = runtime.block;
    mine.last = runtime.current;
    std::swap(mine.block, block);
    mine.stacks.clear();
    for_threads_under_way([&](const Thread &thread) {
        const char *low = stack_pointer(thread.context);
        append(mine.stacks, low, (size_t)(thread.stack->high - low));
    });
    mine.warps.clear();
    copy_warps(mine.warps, false);
    mine.threads.resize((size_t)thread_count);
    std::move(threads, threads + thread_count, mine.threads.begin());
    mine.dynamic_shared.assign(shared_memory, shared_memory + current_launch->shared_bytes);
    mine.static_shared.assign(current_file->shared_begin, current_file->shared_end);
    give_all_stacks();
}

void take_back(size_t number) {
    SavedBlock &mine = *saved[number];
    runtime.block = mine.index;
    runtime.current = mine.last;
    std::swap(mine.block, block);
    copy_warps(mine.warps, true);
    std::move(mine.threads.begin(), mine.threads.end(), threads);
    std::vector<Stack *> stacks;
    const char *at = mine.stacks.data();
    for_threads_under_way([&](Thread &thread) {
        char *low = stack_pointer(thread.context);
        memcpy(low, at, (size_t)(thread.stack->high - low));
        at += thread.stack->high - low;
        stacks.push_back(thread.stack);
    });
    take_only(stacks.data(), (int)stacks.size());
    memcpy(shared_memory, mine.dynamic_shared.data(), mine.dynamic_shared.size());
    memcpy(current_file->shared_begin, mine.static_shared.data(), mine.static_shared.size());
    unused.push_back(std::move(saved[number]));
    saved.erase(saved.begin() + (long)number);
}

// Which of the blocks put away goes on; -1 when none can.
long next_saved() {
    size_t first = order == mixed && !saved.empty() ? random_number() % saved.size() : 0;
    for (size_t i = 0; i < saved.size(); i++) {
        size_t number = order == backward ? saved.size() - 1 - i : (first + i) % saved.size();
        if (saved[number]->can_go_on()) return (long)number;
    }
    return -1;
}

// Of one of them where its threads are, of the others how many wait in which line.
int report_no_block(uint64_t waiting) {
    char others[128] = "";
    if (waiting > 0)
        snprintf(others, sizeof others, ", and %llu cannot begin before one of them ends", (unsigned long long)waiting);
    size_t under_way = saved.size();
    std::map<int, int> lines;
    for (size_t i = 1; i < saved.size(); i++)
        for (const Wait &wait : saved[i]->block.waits)
            lines[saved[i]->threads[(size_t)(wait.thread - threads)].place.line]++;
    take_back(0);
    const Wait &wait = block.waits.front();
    const tti_cpu_place &place = wait.thread->place;
    runtime.current = wait.thread;
    report("%s at %s:%d: the count is %d, not %d, and no block can go on: %zu wait%s", place.what, short_name(place.file),
           place.line, *wait.counter, wait.count, under_way, others);
    report_waiting();
    for (auto &[line, number] : lines)
        fprintf(stderr, "    other blocks: %d wait at %s, line %d\n", number, place.what, line);
    return 719;
}

// MARK: Launches

// The order in which blocks begin.
struct BlockOrder {
    tti_cpu_index grid;
    uint64_t count, step = 1, first = 0;

    BlockOrder(const tti_cpu_index &grid) : grid(grid), count((uint64_t)grid.x * grid.y * grid.z) {
        if (order != mixed) return;
        first = random_number() % count;
        step = random_number() % count + 1;
        while (std::gcd(step, count) != 1) step++;
    }
    tti_cpu_index operator[](uint64_t number) const {
        uint64_t i = order == forward ? number : order == backward ? count - 1 - number : (first + number * step) % count;
        return {(unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / grid.x / grid.y)};
    }
};

void prepare_threads(const Launch &launch) {
    thread_count = (int)(launch.block.x * launch.block.y * launch.block.z);
    warp_count = (thread_count + 31) / 32;
    int number = 0;
    for (unsigned z = 0; z < launch.block.z; z++)
        for (unsigned y = 0; y < launch.block.y; y++)
            for (unsigned x = 0; x < launch.block.x; x++, number++) {
                threads[number].index = {x, y, z};
                threads[number].lane = (unsigned)number % 32;
                threads[number].warp = (unsigned)number / 32;
            }
    for (int w = 0; w < warp_count; w++) {
        int lanes = thread_count - w * 32;
        warps[w].all = lanes >= 32 ? 0xffffffffu : (1u << lanes) - 1;
    }
}

// Runs the block until it ends or has to be put away; 0 or an error, which was reported.
int run_and_check(const Launch &launch) {
    const unsigned char *instruction;
    if (int status = run_block(&instruction)) {
        if (instruction) report_line(*launch.function->module, instruction);
        return status;
    }
    if (is_shared_intact(shared_memory, launch.shared_bytes)) return 0;
    const tti_cpu_index &at = runtime.block;
    fprintf(stderr, "CUDA on a processor: kernel %s, block (%u, %u, %u): wrote beside its %u bytes of dynamic shared memory\n",
            launch.function->name.c_str(), at.x, at.y, at.z, launch.shared_bytes);
    return 700;
}

int run_blocks(const Launch &launch) {
    const BlockOrder order_of_blocks(launch.grid);
    const size_t most = (size_t)multiprocessor_count();
    for (uint64_t begun = 0; begun < order_of_blocks.count || !saved.empty();) {
        bool can_begin = begun < order_of_blocks.count && saved.size() < most;
        bool prefers_saved = !can_begin || (order == mixed && random_number() % 2 == 0);
        long number = prefers_saved ? next_saved() : -1;
        if (number >= 0) {
            take_back((size_t)number);
            choose_signalled();
        } else if (can_begin) {
            runtime.block = order_of_blocks[begun++];
            fill_shared(shared_memory, launch.shared_bytes);
            memset(current_file->shared_begin, 0xff, (size_t)(current_file->shared_end - current_file->shared_begin));
            begin_block();
        } else {
            return report_no_block(order_of_blocks.count - begun);
        }
        if (int status = run_and_check(launch)) return status;
        if (block.ended_count < thread_count) put_away();
    }
    return 0;
}

}  // namespace

int run(const Launch &launch) {
    catch_faults();
    runtime.fail = fail;
    runtime.is_shared = is_shared;
    runtime.copy_begin = copy_begin;
    runtime.copy_commit = copy_commit;
    runtime.copy_wait = copy_wait;
    runtime.waited = waited;
    runtime.block_size = launch.block;
    runtime.grid_size = launch.grid;
    current_launch = &launch;
    current_file = &launch.function->module->file;
    has_waited = false;
    shared_memory = place_shared(launch.shared_bytes);
    runtime.dynamic_shared = shared_memory;
    prepare_threads(launch);
    begin_launch(launch);
    int status = run_blocks(launch);
    saved.clear();
    unused.clear();
    if (status) {
        give_all_stacks();
        return status;
    }
    if (launch.may_begin_early && !has_waited) {
        fprintf(stderr, "CUDA on a processor: kernel %s may begin early, but never waits for its inputs\n",
                launch.function->name.c_str());
        return 719;
    }
    return 0;
}
