/// What some threads have asked the system for, by malloc, calloc, realloc, aligned_alloc, posix_memalign and mmap.
///
/// Linking this target replaces the C library's functions by ones that count and pass on to them. Elsewhere than on glibc all
/// numbers stay 0.
typedef struct {
    /// How often memory was asked for.
    long calls;
    /// How much.
    long bytes;
} ctest_allocations;

/// From now on counts in `counts` what this thread asks for, which other threads may do too; NULL ends it. Threads that are
/// not told are not counted: what other tests do meanwhile is not of interest.
void ctest_count_allocations(ctest_allocations *counts);
