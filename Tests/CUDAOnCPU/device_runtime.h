// What a compiled kernel file and the driver know of each other: a table that the driver fills in when it loads the file,
// and a description of each kernel that it finds by name. Both sides read this file.
#pragma once

struct tti_cpu_index {
    unsigned x, y, z;
};

// What kernels see of their thread; the driver's own record of a thread begins with it.
struct tti_cpu_thread {
    tti_cpu_index index;
    unsigned lane, warp;
};

// Where a thread is, for reports.
struct tti_cpu_place {
    const char *what;  // the primitive
    const char *file;
    int line;
};

// Does what a warp does together: `posts` has, for each lane of `mask`, what that lane brought; results go there too.
typedef void (*tti_cpu_together)(void *const *posts, unsigned mask);

enum tti_cpu_meeting {
    tti_cpu_usual = 0,
    tti_cpu_aligned = 1,          // all lanes must be at the same instruction
    tti_cpu_without_ended = 2,    // lanes whose threads have ended are not waited for
};

enum tti_cpu_barrier { tti_cpu_plain, tti_cpu_or, tti_cpu_and, tti_cpu_count };

struct tti_cpu_runtime {
    tti_cpu_thread *current;
    tti_cpu_index block, block_size, grid_size;
    char *dynamic_shared;

    // Waits until all lanes of `mask` are there; the last one does `together` for all.
    void (*meet)(unsigned mask, void *post, tti_cpu_together together, int kind, const tti_cpu_place &place);
    // Waits until all threads of the block are there.
    unsigned (*barrier)(int kind, unsigned value, const tti_cpu_place &place);
    // Lets other threads of the block go on.
    void (*yield)(const tti_cpu_place &place);
    // Ends the launch with an error.
    void (*fail)(int status, const char *text, const tti_cpu_place &place);
    // Whether `bytes` at `address` are in the block's shared memory.
    bool (*is_shared)(const void *address, unsigned bytes);
    // Copies of 16 bytes to shared memory that land when they are waited for.
    void (*copy_begin)(void *shared, const void *global, bool valid, const tti_cpu_place &place);
    void (*copy_commit)();
    void (*copy_wait)(int left);
    // The kernel has waited for what earlier ones wrote.
    void (*waited)();
};

// `tti_cpu_kernel_NAME` in the compiled file.
struct tti_cpu_kernel {
    void (*run)(const void *parameters);
    unsigned parameter_bytes, threads;
};

// What `tti_cpu_attach` of the compiled file gives back.
struct tti_cpu_file {
    const char *stamp;                  // of these headers; the driver's must be the same
    char *shared_begin, *shared_end;    // all __shared__ variables of the file
};

// What cuTensorMapEncodeTiled leaves in the 128 bytes of a map.
struct tti_cpu_tensor_map {
    unsigned long long mark, address;
    unsigned long long strides[4];  // bytes, of the second dimension and on
    unsigned sizes[5];
    unsigned short box[5];  // of pixels that are there: one in `steps`
    unsigned char steps[5], rank, element_bytes, row_bytes;
};

enum : unsigned long long { tti_cpu_map_mark = 0x70616d726f736e74ull };
