// Running a launch: what the parts of the driver know of it.
#pragma once

#include "device_runtime.h"

#include <string>

struct Function;

const unsigned most_parameter_bytes = 4096;

struct Launch {
    const Function *function;
    std::string parameters;
    tti_cpu_index grid, block;
    unsigned shared_bytes;
    bool may_begin_early;  // launched with the attribute of programmatic dependent launch
};

// What kernels of all files call.
extern tti_cpu_runtime runtime;

// Runs all blocks; 0 or an error, which was reported.
int run(const Launch &launch);

// MARK: for faults.cpp

// Whether this system thread is running a kernel.
bool is_running_kernel();
// "kernel name, block (…), thread (…)"
void describe_thread(char *text, int size);
// In a signal handler: ends the launch with the error once the handler returns.
void end_launch_from_signal(int status, const unsigned char *instruction, void *signal_state);
// Makes faults of kernels known to this system thread's signal handlers.
void catch_faults();

// MARK: memory.cpp

// The range of a launch's dynamic shared memory: `bytes` that end where memory that faults (or is checked) begins.
char *place_shared(unsigned bytes);
// Before a block: all bits set. After it: whether nothing was written beside it.
void fill_shared(char *memory, unsigned bytes);
bool is_shared_intact(const char *memory, unsigned bytes);
