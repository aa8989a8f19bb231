// What all entry points of the driver share: one lock, the state of the process, the checks that every call begins with.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <mutex>

#define EXPORT extern "C" __attribute__((visibility("default")))

enum Status {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    not_initialized = 3,
    no_device = 100,
    invalid_device = 101,
    invalid_image = 200,
    invalid_context = 201,
    no_binary = 209,
    invalid_handle = 400,
    not_found = 500,
    not_ready = 600,
    illegal_address = 700,
    misaligned_address = 716,
    launch_failed = 719,
    not_supported = 801,
    capture_unsupported = 900,
    capture_invalidated = 901,
    capture_unmatched = 903,
    capture_implicit = 906,
    captured_event = 907,
};

extern std::recursive_mutex lock;

// The fault that ended the context, which all later calls give back; and one that the next waiting call will find.
extern int sticky, coming;

bool is_initialized();
bool has_context();

// Says on stderr what was wrong with a call, and gives the status back.
int complain(int status, const char *call, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Every call begins so; the second form for those that need a context of the calling thread.
#define ENTER                                          \
    std::lock_guard<std::recursive_mutex> hold(lock);  \
    if (!is_initialized()) return not_initialized;     \
    if (sticky) return sticky;
#define ENTER_CONTEXT \
    ENTER             \
    if (!has_context()) return complain(invalid_context, __func__, "the calling thread has set no context");

// Bytes of dynamic shared memory that a kernel of this device may ask for.
int most_shared_bytes();

// MARK: memory.cpp

// Whether all of the range is in one allocation of the device.
bool is_device_memory(uint64_t address, size_t bytes);
// The same for memory of cuMemHostAlloc.
bool is_pinned_memory(const void *address, size_t bytes);
// Whether nothing was written just beside an allocation; says so if not.
bool is_memory_intact();
void release_all_memory();

// MARK: streams.cpp

// Does what was put off (TTI_CUDA_ON_CPU_LATE), and finds faults; what every waiting call does.
int finish_all();
// A call that must not be made while a stream captures: 0, or the error, which also ends the capture.
int refuse_in_capture(const char *call);
