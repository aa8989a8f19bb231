#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "CTTIKernels.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

// How it works. `state` holds the number of the call in its upper half and how many indices nobody has taken yet in its
// lower half. A thread takes an index by lowering `state` by one; the number of the call in it makes a late thread fail to
// take from a call that it has not read. The call is over when `unfinished` is 0: a thread that slept through the whole
// call is not waited for.
struct ctti_pool {
    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) atomic_size_t unfinished;
    _Alignas(64) ctti_task task;
    void *context;
    size_t count;
    _Alignas(64) atomic_int sleepers;
    atomic_bool busy, stopping;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    size_t workers;
    pthread_t *threads;
};

typedef struct {
    ctti_pool *pool;
    size_t thread;
} worker_start;

// A worker sleeps after this long without work: longer than the serial parts between two operations of a step.
enum { spin_microseconds = 100 };

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void take_all(ctti_pool *pool, size_t thread) {
    uint64_t state = atomic_load_explicit(&pool->state, memory_order_acquire);
    while ((uint32_t)state != 0) {
        if (!atomic_compare_exchange_weak_explicit(
                &pool->state, &state, state - 1, memory_order_acq_rel, memory_order_acquire)) {
            continue;
        }
        // The call cannot end before this index is done, so its fields may be read.
        pool->task(pool->count - (uint32_t)state, thread, pool->context);
        atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_release);
        state = atomic_load_explicit(&pool->state, memory_order_acquire);
    }
}

static bool has_work(ctti_pool *pool) {
    return (uint32_t)atomic_load(&pool->state) != 0 || atomic_load(&pool->stopping);
}

static void *worker(void *argument) {
    worker_start start = *(worker_start *)argument;
    free(argument);
    ctti_pool *pool = start.pool;
    while (!atomic_load(&pool->stopping)) {
        take_all(pool, start.thread);
        uint64_t limit = microseconds() + spin_microseconds;
        bool found = false;
        while (!found && microseconds() < limit) {
            for (int turn = 0; turn < 32 && !found; turn++) {
                found = (uint32_t)atomic_load_explicit(&pool->state, memory_order_relaxed) != 0;
                relax();
            }
        }
        if (found) continue;
        pthread_mutex_lock(&pool->mutex);
        atomic_fetch_add(&pool->sleepers, 1);
        while (!has_work(pool)) pthread_cond_wait(&pool->wake, &pool->mutex);
        atomic_fetch_sub(&pool->sleepers, 1);
        pthread_mutex_unlock(&pool->mutex);
    }
    return NULL;
}

ctti_pool *ctti_pool_create(size_t threads) {
    ctti_pool *pool = aligned_alloc(64, (sizeof(ctti_pool) + 63) / 64 * 64);
    if (!pool) return NULL;
    *pool = (ctti_pool){0};
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = threads > 1 ? calloc(threads - 1, sizeof(pthread_t)) : NULL;
    for (size_t thread = 1; thread < threads && pool->threads; thread++) {
        worker_start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (worker_start){pool, thread};
        if (pthread_create(&pool->threads[pool->workers], NULL, worker, start) != 0) {
            free(start);
            break;
        }
        pool->workers++;
    }
    return pool;
}

size_t ctti_pool_threads(const ctti_pool *pool) { return pool->workers + 1; }

void ctti_pool_run(ctti_pool *pool, size_t count, ctti_task task, void *context) {
    if (count == 0) return;
    bool idle = false;
    if (count == 1 || count > UINT32_MAX || pool->workers == 0 ||
        !atomic_compare_exchange_strong(&pool->busy, &idle, true)) {
        for (size_t index = 0; index < count; index++) task(index, 0, context);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store_explicit(&pool->unfinished, count, memory_order_relaxed);
    uint64_t call = (atomic_load_explicit(&pool->state, memory_order_relaxed) >> 32) + 1;
    atomic_store(&pool->state, call << 32 | count);
    // Sequentially consistent with a worker's `sleepers` and `state`: one of the two sees the other.
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
    take_all(pool, 0);
    // The last indices are on other threads. One may have lost its core, so give ours away after a while.
    for (int turn = 0; atomic_load_explicit(&pool->unfinished, memory_order_acquire) != 0; turn++) {
        if (turn < 4000) {
            relax();
        } else {
            sched_yield();
        }
    }
    atomic_store(&pool->busy, false);
}

void ctti_pool_destroy(ctti_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stopping, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t index = 0; index < pool->workers; index++) pthread_join(pool->threads[index], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}

size_t ctti_usable_cores(void) {
    size_t cores = 1;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online > 0) cores = (size_t)online;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) cores = (size_t)CPU_COUNT(&set);
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file) {
        long long quota = 0, period = 0;
        if (fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
            size_t allowed = (size_t)((quota + period - 1) / period);
            if (allowed < cores) cores = allowed;
        }
        fclose(file);
    }
#endif
    return cores;
}
