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

extern Thread threads[1024];
extern Warp warps[32];
extern int warp_count, thread_count, ended_count;
extern const Launch *current_launch;
extern const tti_cpu_file *current_file;
extern char *shared_memory;

inline Thread *current() { return (Thread *)runtime.current; }

// MARK: execution.cpp

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
