/// What this thread has asked the system for, by malloc, calloc, realloc, aligned_alloc and posix_memalign.
///
/// Linking this target replaces the C library's functions by ones that count and pass on to them. Elsewhere than on glibc all
/// numbers stay 0.
typedef struct {
    /// How often memory was asked for.
    long calls;
    /// How much.
    long bytes;
    /// How many pieces were asked for and not yet given back (by this thread).
    long live;
} ctest_allocations;

ctest_allocations ctest_allocations_so_far(void);
