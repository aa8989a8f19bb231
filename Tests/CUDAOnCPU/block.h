// The block that is being run: its threads and warps, for the parts of execution.
#pragma once

#include "execution.h"
#include "fibers.h"

#include <stddef.h>
#include <stdint.h>
#include <vector>

struct Copy {
    void *target;
    int group;
    char bytes[16];
};

struct Thread : tti_cpu_thread {
    Context context;
    Stack *stack;
    tti_cpu_place place;  // where it waits
    std::vector<Copy> copies;
    size_t landed;  // copies that are done
    int groups;     // groups that were ended
};

// Lanes that do something together, some of them there.
struct Meeting {
    unsigned mask, needed, arrived;
    tti_cpu_place place;
    int kind;
    void *posts[32];
};

struct Warp {
    unsigned all, ready, started, ended, at_barrier;
    unsigned open;       // meetings
    unsigned last_lane;  // the turn before the first one
    int barrier_line;
    Meeting meetings[32];
};

// A thread that waits for a count.
struct Wait {
    Thread *thread;
    const int *counter;
    int count;

    bool is_over() const { return (int)((unsigned)*(const volatile int *)counter - (unsigned)count) >= 0; }
};

// What the block's threads have in common.
struct Block {
    uint32_t ready_warps;
    int ended_count;
    int arrived_count;  // at the barrier
    int barrier_kind;
    unsigned barrier_sum, barrier_result;
    tti_cpu_place barrier_place;
    unsigned sleeps;  // since anything else happened
    std::vector<Wait> waits;
};

enum Order { forward, backward, mixed };

extern Thread threads[1024];
extern Warp warps[32];
extern Block block;
extern int warp_count, thread_count;
extern Order order;
extern const Launch *current_launch;
extern const tti_cpu_file *current_file;
extern char *shared_memory;

inline Thread *current() { return (Thread *)runtime.current; }

// MARK: execution.cpp

void begin_launch(const Launch &launch);
// All threads of the block are to begin, the current one first.
void begin_block();
// The current thread and then the others go on, until all have ended or all that have not wait for counts, or until a fault:
// then its error, and where one is known the instruction.
int run_block(const unsigned char **instruction);
// Threads whose count has come can go on; whether there are any.
bool wake_signalled();
// One of them is the current thread.
void choose_signalled();
// For the order of blocks, where they are mixed.
uint32_t random_number();
[[noreturn]] void end_launch(int error);

// MARK: reports.cpp

// One line on stderr that begins with the kernel, the block and the thread.
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Which lanes wait where, those of a warp that wait at the same place in one line.
void report_waiting();
// A file's name without its folder.
const char *short_name(const char *path);
void fail(int error, const char *text, const tti_cpu_place &place);

// MARK: copies.cpp

bool is_shared(const void *address, unsigned bytes);
void copy_begin(void *shared, const void *global, bool valid, const tti_cpu_place &place);
void copy_commit();
void copy_wait(int left);
// What a thread's end leaves under way lands.
void finish_copies(Thread &thread);
