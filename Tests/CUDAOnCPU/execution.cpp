// Running a block: its threads as fibers that take turns at barriers and at what a warp does together. The order of threads
// is always the same; TTI_CUDA_ON_CPU_ORDER (see `set_order`) chooses another, to find kernels that lack a barrier.
#include "block.h"
#include "modules.h"

#include <stdlib.h>
#include <string.h>

tti_cpu_runtime runtime;
Thread threads[1024];
Warp warps[32];
Block block;
int warp_count, thread_count;
Order order;

namespace {

Context outside;
int status;
const unsigned char *fault_instruction;
uint64_t random_state;
alignas(64) char parameters[most_parameter_bytes];
__thread bool running;

const unsigned most_sleeps = 100'000'000;

// MARK: Order

// TTI_CUDA_ON_CPU_ORDER: nothing, "backward", or a number that threads are mixed by.
void set_order() {
    const char *text = getenv("TTI_CUDA_ON_CPU_ORDER");
    order = !text || !*text ? forward : strcmp(text, "backward") == 0 ? backward : mixed;
    random_state = order == mixed ? strtoull(text, nullptr, 10) * 2 + 0x9e3779b97f4a7c15 : 0;
}

inline uint32_t random_bits() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

// One bit's number of `bits`, which is not 0; in order, the next after `last`.
inline int choose(uint32_t bits, unsigned last) {
    if (__builtin_expect(order == forward, 1)) {
        uint32_t after = bits & ~((2u << last) - 1);
        return __builtin_ctz(after ? after : bits);
    }
    if (order == backward) {
        uint32_t before = bits & ((1u << last) - 1);
        return 31 - __builtin_clz(before ? before : bits);
    }
    unsigned by = random_bits() & 31;
    uint32_t turned = bits >> by | bits << (-by & 31);
    return (__builtin_ctz(turned) + by) & 31;
}

// Which thread goes on; null when none can.
inline Thread *next_thread(const Thread *last) {
    unsigned w = last->warp, lane = last->lane;
    if (warps[w].ready == 0) {
        block.ready_warps &= ~(1u << w);
        if (block.ready_warps == 0) return nullptr;
        w = (unsigned)choose(block.ready_warps, w);
        lane = warps[w].last_lane;
    }
    return &threads[w * 32 + (unsigned)choose(warps[w].ready, lane)];
}

// MARK: Threads' turns

void thread_main();

inline void start(Thread *thread, Stack *stack) {
    warps[thread->warp].started |= 1u << thread->lane;
    thread->stack = stack;
    if (!thread->copies.empty()) thread->copies.clear();
    thread->landed = 0;
    thread->groups = 0;
}

[[noreturn]] void report_stuck() {
    report("no thread of the block can go on; %d of %d have ended", block.ended_count, thread_count);
    report_waiting();
    end_launch(719);
}

inline void make_ready(int warp, unsigned lanes) {
    warps[warp].ready |= lanes;
    block.ready_warps |= 1u << warp;
}

// When no thread is ready: one whose count has come, or none if other blocks have to go on first.
Thread *next_signalled(const Thread *last) {
    if (block.waits.empty()) report_stuck();
    wake_signalled();
    return next_thread(last);
}

inline void go_on(Context &from, Thread *next, const Warp &warp) {
    runtime.current = next;
    if (!(warp.started >> next->lane & 1)) {
        start(next, take_stack());
        prepare(next->context, *next->stack, thread_main);
    }
    change(from, next->context);
}

// The current thread, which was marked as waiting (or only gives way), lets another go on.
inline void let_others() {
    Thread *self = current();
    unsigned lane = self->lane;
    // Mostly the next lane goes on: a guess that the processor makes too, without waiting for what it depends on.
    if (__builtin_expect(order == forward && lane < 31 && warps[self->warp].ready >> (lane + 1) & 1, 1))
        return go_on(self->context, self + 1, warps[self->warp]);
    Thread *next = next_thread(self);
    if (__builtin_expect(!next, 0)) {
        next = next_signalled(self);
        if (!next) return change(self->context, outside);
    }
    if (next == self) return;
    go_on(self->context, next, warps[next->warp]);
}

void open_barrier() {
    block.barrier_result = block.barrier_kind == tti_cpu_and ? block.barrier_sum == (unsigned)block.arrived_count
                           : block.barrier_kind == tti_cpu_or ? block.barrier_sum != 0
                                                              : block.barrier_sum;
    block.arrived_count = 0;
    block.barrier_sum = 0;
    block.sleeps = 0;
    for (int w = 0; w < warp_count; w++)
        if (warps[w].at_barrier) {
            make_ready(w, warps[w].at_barrier);
            warps[w].at_barrier = 0;
        }
}

unsigned barrier(int kind, unsigned value, const tti_cpu_place &place) {
    Thread *self = current();
    Warp &warp = warps[self->warp];
    if (block.arrived_count == 0) {
        block.barrier_kind = kind;
        block.barrier_place = place;
    } else if (block.barrier_kind != kind) {
        report("%s at line %d while others wait at %s, line %d", place.what, place.line, block.barrier_place.what,
               block.barrier_place.line);
        report_waiting();
        end_launch(719);
    }
    if (warp.at_barrier == 0) {
        warp.barrier_line = place.line;
    } else if (warp.barrier_line != place.line) {
        report("lanes of a warp are at different barriers, lines %d and %d", warp.barrier_line, place.line);
        report_waiting();
        end_launch(719);
    }
    unsigned bit = 1u << self->lane;
    warp.ready &= ~bit;
    warp.at_barrier |= bit;
    self->place = place;
    block.arrived_count++;
    block.barrier_sum += value;
    if (block.arrived_count + block.ended_count == thread_count) open_barrier();
    else let_others();
    return block.barrier_result;
}

// The count was not there. Other threads of the block go on before it is looked at again; when none can, other blocks do
// (blocks.cpp).
void wait(const int *counter, int count, const tti_cpu_place &place) {
    Thread *self = current();
    warps[self->warp].ready &= ~(1u << self->lane);
    self->place = place;
    block.waits.push_back({self, counter, count});
    let_others();
}

// Turns go to other lanes and to other warps by turns: whoever is slept for may be anywhere.
void yield(const tti_cpu_place &place) {
    Thread *self = current();
    Warp &warp = warps[self->warp];
    self->place = place;
    warp.last_lane = self->lane;
    uint32_t others = block.ready_warps & ~(1u << self->warp);
    bool alone = (warp.ready & ~(1u << self->lane)) == 0;
    if (++block.sleeps == most_sleeps) fail(719, "it sleeps for something that does not come", place);
    if (!block.waits.empty() && block.sleeps > 2 * (unsigned)thread_count) {
        // Whoever would wake them waits for a count.
        block.sleeps = 0;
        if (!wake_signalled()) return change(self->context, outside);
    }
    if (others == 0 || (!alone && block.sleeps % 2 == 0)) return let_others();
    unsigned w = (unsigned)choose(others, self->warp);
    go_on(self->context, &threads[w * 32 + (unsigned)choose(warps[w].ready, warps[w].last_lane)], warps[w]);
}

// MARK: Warps

void close_meeting(Warp &warp, int number, int w, unsigned self_bit) {
    warp.open &= ~(1u << number);
    block.sleeps = 0;
    make_ready(w, warp.meetings[number].arrived & ~self_bit);
}

void meet(unsigned mask, void *post, tti_cpu_together together, int kind, const tti_cpu_place &place) {
    Thread *self = current();
    Warp &warp = warps[self->warp];
    unsigned bit = 1u << self->lane, gone = warp.ended & mask;
    if (__builtin_expect(!(mask & bit), 0)) fail(719, "the calling lane is not in the mask", place);
    if (__builtin_expect(gone != 0 && !(kind & tti_cpu_without_ended), 0)) {
        report("%s at %s:%d: lanes %08x of its mask %08x have ended or were never there", place.what,
               short_name(place.file), place.line, gone, mask);
        end_launch(719);
    }
    int number = -1;
    for (unsigned open = warp.open; open; open &= open - 1) {
        int candidate = __builtin_ctz(open);
        const Meeting &other = warp.meetings[candidate];
        if (other.mask != mask) continue;
        bool same = other.place.what == place.what || strcmp(other.place.what, place.what) == 0;
        if (__builtin_expect(!same || (kind & tti_cpu_aligned && other.place.line != place.line), 0)) {
            report("%s at line %d while other lanes of the warp are at %s, line %d", place.what, place.line,
                   other.place.what, other.place.line);
            end_launch(719);
        }
        number = candidate;
        break;
    }
    if (number < 0) {
        number = __builtin_ctz(~warp.open);
        warp.open |= 1u << number;
        Meeting &fresh = warp.meetings[number];
        fresh.mask = mask;
        fresh.needed = mask & ~gone;
        fresh.arrived = 0;
        fresh.kind = kind;
        fresh.place = place;
    }
    Meeting &meeting = warp.meetings[number];
    meeting.posts[self->lane] = post;
    meeting.arrived |= bit;
    if (meeting.arrived == meeting.needed) {
        together(meeting.posts, meeting.arrived);
        close_meeting(warp, number, (int)self->warp, bit);
        return;
    }
    warp.ready &= ~bit;
    self->place = place;
    let_others();
}

// Others may have waited for a thread that ends.
void end_thread(Thread *self) {
    Warp &warp = warps[self->warp];
    unsigned bit = 1u << self->lane;
    if (!self->copies.empty()) finish_copies(*self);
    warp.ready &= ~bit;
    warp.ended |= bit;
    block.ended_count++;
    block.sleeps = 0;
    for (unsigned open = warp.open; open; open &= open - 1) {
        int number = __builtin_ctz(open);
        Meeting &meeting = warp.meetings[number];
        if (!(meeting.needed & bit)) continue;
        if (!(meeting.kind & tti_cpu_without_ended)) {
            report("the thread ends while lanes of its warp wait for it at %s, %s:%d", meeting.place.what,
                   short_name(meeting.place.file), meeting.place.line);
            report_waiting();
            end_launch(719);
        }
        meeting.needed &= ~bit;
        if (meeting.arrived == meeting.needed) close_meeting(warp, number, (int)self->warp, 0);
    }
    if (block.arrived_count > 0 && block.arrived_count + block.ended_count == thread_count) open_barrier();
}

// A fiber runs threads one after the other for as long as they end without having waited.
void thread_main() {
    for (;;) {
        Thread *self = current();
        current_launch->function->kernel->run(parameters);
        self = current();
        end_thread(self);
        Stack *stack = self->stack;
        if (block.ended_count == thread_count) {
            give_stack(stack);
            leave_for(outside);
        }
        Thread *next = next_thread(self);
        if (!next) next = next_signalled(self);
        if (!next) {
            give_stack(stack);
            leave_for(outside);
        }
        runtime.current = next;
        if (warps[next->warp].started >> next->lane & 1) {
            give_stack(stack);
            leave_for(next->context);
        }
        start(next, stack);
    }
}

}  // namespace

// MARK: Blocks

uint32_t random_number() { return random_bits(); }

bool wake_signalled() {
    size_t left = 0;
    for (const Wait &wait : block.waits) {
        if (wait.is_over()) make_ready((int)wait.thread->warp, 1u << wait.thread->lane);
        else block.waits[left++] = wait;
    }
    bool any = left < block.waits.size();
    block.waits.resize(left);
    return any;
}

void begin_launch(const Launch &launch) {
    set_order();
    runtime.meet = meet;
    runtime.barrier = barrier;
    runtime.yield = yield;
    runtime.wait = wait;
    memcpy(parameters, launch.parameters.data(), launch.parameters.size());
    status = 0;
    fault_instruction = nullptr;
}

void begin_block() {
    for (int w = 0; w < warp_count; w++) {
        Warp &warp = warps[w];
        warp.ready = warp.all;
        warp.ended = ~warp.all;
        warp.started = warp.at_barrier = warp.open = 0;
        warp.last_lane = order == backward ? 0 : 31;
    }
    block.ready_warps = warp_count == 32 ? 0xffffffffu : (1u << warp_count) - 1;
    block.arrived_count = block.ended_count = 0;
    block.barrier_sum = 0;
    block.sleeps = 0;
    block.waits.clear();
    unsigned last = order == backward ? 0 : 31, w = (unsigned)choose(block.ready_warps, last);
    runtime.current = &threads[w * 32 + (unsigned)choose(warps[w].ready, last)];
}

int run_block(const unsigned char **instruction) {
    Thread *first = current();
    running = true;
    go_on(outside, first, warps[first->warp]);
    running = false;
    *instruction = fault_instruction;
    return status;
}

void choose_signalled() { runtime.current = next_signalled(current()); }

[[noreturn]] void end_launch(int error) {
    status = error;
    leave_for(outside);
}

bool is_running_kernel() { return running; }

void end_launch_from_signal(int error, const unsigned char *instruction, void *signal_state) {
    status = error;
    fault_instruction = instruction;
    leave_signal_for(signal_state, outside);
}
