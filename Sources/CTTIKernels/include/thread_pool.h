// Threads that share the work of one operation, which often takes only tens of microseconds: so they spin for a while
// before they sleep, and a call neither allocates nor locks while they are awake.
#pragma once

#include <stddef.h>

typedef struct ctti_pool ctti_pool;

// One piece of work: `index` of the call's count, on thread `thread` (the caller is 0). With `context` it is a Swift closure
// that does not escape, `(Int, Int) -> Void`, in the two words that Swift passes: from any other form, Swift would have to
// move it to the heap first, twice for every call.
typedef __attribute__((swiftcall)) void (*ctti_task)(
    size_t index, size_t thread, __attribute__((swift_context)) void *context);

// A pool in which `threads` threads work, the caller's included. NULL when the system has no memory; fewer threads than
// asked for when it refuses to start them.
ctti_pool *ctti_pool_create(size_t threads);

// How many threads work, the caller's included.
size_t ctti_pool_threads(const ctti_pool *pool);

// Does task(0…count - 1, thread, context), each index once, and returns when all are done. A call from inside a task, or
// from a second thread while the pool is busy, is done serially by its caller, as thread 0.
__attribute__((swiftcall)) void ctti_pool_run(ctti_pool *pool, size_t count, ctti_task task, void *context);

// Joins the threads.
void ctti_pool_destroy(ctti_pool *pool);

// How many cores this process may use: the affinity mask, and the quota of its control group (rounded up).
size_t ctti_usable_cores(void);
