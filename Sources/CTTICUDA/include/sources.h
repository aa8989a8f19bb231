// The sources of the kernels, embedded when the program is built.
#pragma once
#include <stddef.h>

typedef struct ctti_source {
    // "linear.cu"
    const char *name;
    // Ends with a zero byte.
    const char *text;
    size_t length;
} ctti_source;

// Files that are compiled.
extern const ctti_source ctti_kernel_sources[];
extern const size_t ctti_kernel_source_count;
// Files that those include.
extern const ctti_source ctti_kernel_headers[];
extern const size_t ctti_kernel_header_count;

// One of each, for callers that see no C arrays.
static inline ctti_source ctti_kernel_sources_at(long index) { return ctti_kernel_sources[index]; }
static inline ctti_source ctti_kernel_headers_at(long index) { return ctti_kernel_headers[index]; }
