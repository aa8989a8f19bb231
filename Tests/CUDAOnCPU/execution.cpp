// Running a launch: blocks one after the other, their threads as fibers that take turns at barriers and at what a warp
// does together. The order of threads is always the same; TTI_CUDA_ON_CPU_ORDER (see `set_order`) chooses another, to
// find kernels that lack a barrier.
#include "block.h"
#include "modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tti_cpu_runtime runtime;
Thread threads[1024];
Warp warps[32];
int warp_count, thread_count, ended_count;
const Launch *current_launch;
const tti_cpu_file *current_file;
char *shared_memory;

namespace {

enum Order { forward, backward, mixed };

uint32_t ready_warps;
int arrived_count;  // at the barrier
int barrier_kind;
unsigned barrier_sum, barrier_result;
tti_cpu_place barrier_place;

Context outside;
int status;
const unsigned char *fault_instruction;
bool has_waited;
Order order;
uint64_t random_state;
unsigned sleeps;  // since anything else happened
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
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    unsigned by = (unsigned)(random_state >> 32) & 31;
    uint32_t turned = bits >> by | bits << (-by & 31);
    return (__builtin_ctz(turned) + by) & 31;
}

// Which thread goes on; null when none can.
inline Thread *next_thread(const Thread *last) {
    unsigned w = last->warp, lane = last->lane;
    if (warps[w].ready == 0) {
        ready_warps &= ~(1u << w);
        if (ready_warps == 0) return nullptr;
        w = (unsigned)choose(ready_warps, w);
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
    report("no thread of the block can go on; %d of %d have ended", ended_count, thread_count);
    report_waiting();
    end_launch(719);
}

inline void go_on(Thread *self, Thread *next, const Warp &warp) {
    runtime.current = next;
    if (!(warp.started >> next->lane & 1)) {
        start(next, take_stack());
        prepare(next->context, *next->stack, thread_main);
    }
    change(self->context, next->context);
}

// The current thread, which was marked as waiting (or only gives way), lets another go on.
inline void let_others() {
    Thread *self = current();
    unsigned lane = self->lane;
    // Mostly the next lane goes on: a guess that the processor makes too, without waiting for what it depends on.
    if (__builtin_expect(order == forward && lane < 31 && warps[self->warp].ready >> (lane + 1) & 1, 1))
        return go_on(self, self + 1, warps[self->warp]);
    Thread *next = next_thread(self);
    if (next == self) return;
    if (!next) report_stuck();
    go_on(self, next, warps[next->warp]);
}

inline void make_ready(int warp, unsigned lanes) {
    warps[warp].ready |= lanes;
    ready_warps |= 1u << warp;
}

void open_barrier() {
    barrier_result = barrier_kind == tti_cpu_and ? barrier_sum == (unsigned)arrived_count
                     : barrier_kind == tti_cpu_or ? barrier_sum != 0
                                                  : barrier_sum;
    arrived_count = 0;
    barrier_sum = 0;
    sleeps = 0;
    for (int w = 0; w < warp_count; w++)
        if (warps[w].at_barrier) {
            make_ready(w, warps[w].at_barrier);
            warps[w].at_barrier = 0;
        }
}

unsigned barrier(int kind, unsigned value, const tti_cpu_place &place) {
    Thread *self = current();
    Warp &warp = warps[self->warp];
    if (arrived_count == 0) {
        barrier_kind = kind;
        barrier_place = place;
    } else if (barrier_kind != kind) {
        report("%s at line %d while others wait at %s, line %d", place.what, place.line, barrier_place.what,
               barrier_place.line);
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
    arrived_count++;
    barrier_sum += value;
    if (arrived_count + ended_count == thread_count) open_barrier();
    else let_others();
    return barrier_result;
}

// Turns go to other lanes and to other warps by turns: whoever is slept for may be anywhere.
void yield(const tti_cpu_place &place) {
    Thread *self = current();
    Warp &warp = warps[self->warp];
    self->place = place;
    warp.last_lane = self->lane;
    uint32_t others = ready_warps & ~(1u << self->warp);
    bool alone = (warp.ready & ~(1u << self->lane)) == 0;
    if (++sleeps == most_sleeps) fail(719, "it sleeps for something that does not come", place);
    if (others == 0 || (!alone && sleeps % 2 == 0)) return let_others();
    unsigned w = (unsigned)choose(others, self->warp);
    go_on(self, &threads[w * 32 + (unsigned)choose(warps[w].ready, warps[w].last_lane)], warps[w]);
}

// MARK: Warps

void close_meeting(Warp &warp, int number, int w, unsigned self_bit) {
    warp.open &= ~(1u << number);
    sleeps = 0;
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
    ended_count++;
    sleeps = 0;
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
    if (arrived_count > 0 && arrived_count + ended_count == thread_count) open_barrier();
}

// A fiber runs threads one after the other for as long as they end without having waited.
void thread_main() {
    for (;;) {
        Thread *self = current();
        current_launch->function->kernel->run(parameters);
        self = current();
        end_thread(self);
        Stack *stack = self->stack;
        if (ended_count == thread_count) {
            give_stack(stack);
            leave_for(outside);
        }
        Thread *next = next_thread(self);
        if (!next) report_stuck();
        runtime.current = next;
        if (warps[next->warp].started >> next->lane & 1) {
            give_stack(stack);
            leave_for(next->context);
        }
        start(next, stack);
    }
}

// MARK: Blocks

void waited() { has_waited = true; }

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

void run_block() {
    for (int w = 0; w < warp_count; w++) {
        Warp &warp = warps[w];
        warp.ready = warp.all;
        warp.ended = ~warp.all;
        warp.started = warp.at_barrier = warp.open = 0;
        warp.last_lane = order == backward ? 0 : 31;
    }
    ready_warps = warp_count == 32 ? 0xffffffffu : (1u << warp_count) - 1;
    arrived_count = ended_count = 0;
    barrier_sum = 0;
    unsigned last = order == backward ? 0 : 31, w = (unsigned)choose(ready_warps, last);
    Thread *first = &threads[w * 32 + (unsigned)choose(warps[w].ready, last)];
    runtime.current = first;
    start(first, take_stack());
    prepare(first->context, *first->stack, thread_main);
    change(outside, first->context);
}

}  // namespace

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

int run(const Launch &launch) {
    catch_faults();
    set_order();
    runtime.meet = meet;
    runtime.barrier = barrier;
    runtime.yield = yield;
    runtime.fail = fail;
    runtime.is_shared = is_shared;
    runtime.copy_begin = copy_begin;
    runtime.copy_commit = copy_commit;
    runtime.copy_wait = copy_wait;
    runtime.waited = waited;
    current_launch = &launch;
    memcpy(parameters, launch.parameters.data(), launch.parameters.size());
    current_file = &launch.function->module->file;
    status = 0;
    has_waited = false;
    fault_instruction = nullptr;
    shared_memory = place_shared(launch.shared_bytes);
    runtime.dynamic_shared = shared_memory;
    runtime.block_size = launch.block;
    runtime.grid_size = launch.grid;
    prepare_threads(launch);
    tti_cpu_index &at = runtime.block;
    for (at.z = 0; at.z < launch.grid.z; at.z++)
        for (at.y = 0; at.y < launch.grid.y; at.y++)
            for (at.x = 0; at.x < launch.grid.x; at.x++) {
                fill_shared(shared_memory, launch.shared_bytes);
                memset(current_file->shared_begin, 0xff,
                       (size_t)(current_file->shared_end - current_file->shared_begin));
                running = true;
                run_block();
                running = false;
                if (status != 0) {
                    if (fault_instruction) report_line(*launch.function->module, fault_instruction);
                    give_all_stacks();
                    return status;
                }
                if (!is_shared_intact(shared_memory, launch.shared_bytes)) {
                    fprintf(stderr, "CUDA on a processor: kernel %s, block (%u, %u, %u): wrote beside its %u bytes of "
                            "dynamic shared memory\n", launch.function->name.c_str(), at.x, at.y, at.z,
                            launch.shared_bytes);
                    return 700;
                }
            }
    if (launch.may_begin_early && !has_waited) {
        fprintf(stderr, "CUDA on a processor: kernel %s may begin early, but never waits for its inputs\n",
                launch.function->name.c_str());
        return 719;
    }
    return 0;
}
