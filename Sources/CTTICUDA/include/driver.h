// Our own declarations of the CUDA entry points that are used, found at run time: no CUDA header or library is needed to
// build. Names and values are those of cuda.h and nvrtc.h, the same from CUDA 11.8 to 13.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a call gives back: 0 is success.
typedef int ctti_status;
typedef uint64_t ctti_address;
typedef struct ctti_opaque *ctti_handle;  // contexts, streams, events, modules, functions, graphs

typedef struct ctti_launch_attribute {
    int id;
    char pad[4];
    union {
        char bytes[64];
        int programmatic_serialization;
    } value;
} ctti_launch_attribute;

typedef struct ctti_launch_configuration {
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    ctti_handle stream;
    ctti_launch_attribute *attributes;
    unsigned attribute_count;
} ctti_launch_configuration;

// The driver: libcuda.
#define CTTI_DRIVER_ENTRIES(ENTRY) \
    ENTRY(init, "cuInit", (unsigned flags)) \
    ENTRY(driver_version, "cuDriverGetVersion", (int *version)) \
    ENTRY(device_count, "cuDeviceGetCount", (int *count)) \
    ENTRY(device, "cuDeviceGet", (int *device, int ordinal)) \
    ENTRY(device_name, "cuDeviceGetName", (char *name, int length, int device)) \
    ENTRY(device_attribute, "cuDeviceGetAttribute", (int *value, int attribute, int device)) \
    ENTRY(retain_context, "cuDevicePrimaryCtxRetain", (ctti_handle *context, int device)) \
    ENTRY(release_context, "cuDevicePrimaryCtxRelease_v2", (int device)) \
    ENTRY(set_context, "cuCtxSetCurrent", (ctti_handle context)) \
    ENTRY(memory_info, "cuMemGetInfo_v2", (size_t *free, size_t *total)) \
    ENTRY(allocate, "cuMemAlloc_v2", (ctti_address *address, size_t bytes)) \
    ENTRY(release, "cuMemFree_v2", (ctti_address address)) \
    ENTRY(allocate_host, "cuMemHostAlloc", (void **address, size_t bytes, unsigned flags)) \
    ENTRY(release_host, "cuMemFreeHost", (void *address)) \
    ENTRY(copy_to_device, "cuMemcpyHtoDAsync_v2", \
          (ctti_address target, const void *source, size_t bytes, ctti_handle stream)) \
    ENTRY(copy_to_host, "cuMemcpyDtoHAsync_v2", \
          (void *target, ctti_address source, size_t bytes, ctti_handle stream)) \
    ENTRY(copy, "cuMemcpyDtoDAsync_v2", \
          (ctti_address target, ctti_address source, size_t bytes, ctti_handle stream)) \
    ENTRY(fill, "cuMemsetD8Async", (ctti_address target, unsigned char value, size_t bytes, ctti_handle stream)) \
    ENTRY(create_stream, "cuStreamCreate", (ctti_handle *stream, unsigned flags)) \
    ENTRY(destroy_stream, "cuStreamDestroy_v2", (ctti_handle stream)) \
    ENTRY(synchronize_stream, "cuStreamSynchronize", (ctti_handle stream)) \
    ENTRY(begin_capture, "cuStreamBeginCapture_v2", (ctti_handle stream, int mode)) \
    ENTRY(end_capture, "cuStreamEndCapture", (ctti_handle stream, ctti_handle *graph)) \
    ENTRY(instantiate, "cuGraphInstantiateWithFlags", (ctti_handle *program, ctti_handle graph, uint64_t flags)) \
    ENTRY(launch_graph, "cuGraphLaunch", (ctti_handle program, ctti_handle stream)) \
    ENTRY(destroy_program, "cuGraphExecDestroy", (ctti_handle program)) \
    ENTRY(destroy_graph, "cuGraphDestroy", (ctti_handle graph)) \
    ENTRY(create_event, "cuEventCreate", (ctti_handle *event, unsigned flags)) \
    ENTRY(record_event, "cuEventRecord", (ctti_handle event, ctti_handle stream)) \
    ENTRY(synchronize_event, "cuEventSynchronize", (ctti_handle event)) \
    ENTRY(elapsed, "cuEventElapsedTime", (float *milliseconds, ctti_handle start, ctti_handle end)) \
    ENTRY(destroy_event, "cuEventDestroy_v2", (ctti_handle event)) \
    ENTRY(load_module, "cuModuleLoadData", (ctti_handle *module, const void *image)) \
    ENTRY(unload_module, "cuModuleUnload", (ctti_handle module)) \
    ENTRY(function, "cuModuleGetFunction", (ctti_handle *function, ctti_handle module, const char *name)) \
    ENTRY(set_function_attribute, "cuFuncSetAttribute", (ctti_handle function, int attribute, int value)) \
    ENTRY(launch, "cuLaunchKernelEx", \
          (const ctti_launch_configuration *configuration, ctti_handle function, void **parameters, void **extra)) \
    ENTRY(error_name, "cuGetErrorName", (ctti_status status, const char **text)) \
    ENTRY(error_text, "cuGetErrorString", (ctti_status status, const char **text))

// What older drivers lack: members that may be NULL.
#define CTTI_NEWER_DRIVER_ENTRIES(ENTRY) \
    ENTRY(encode_tensor_map, "cuTensorMapEncodeTiled", \
          (void *map, int type, uint32_t rank, void *address, const uint64_t *sizes, const uint64_t *strides, \
           const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int promotion, int fill))

// The compiler: libnvrtc.
#define CTTI_COMPILER_ENTRIES(ENTRY) \
    ENTRY(version, "nvrtcVersion", (int *major, int *minor)) \
    ENTRY(create, "nvrtcCreateProgram", \
          (ctti_handle *program, const char *source, const char *name, int header_count, \
           const char *const *headers, const char *const *header_names)) \
    ENTRY(compile, "nvrtcCompileProgram", (ctti_handle program, int option_count, const char *const *options)) \
    ENTRY(image_size, "nvrtcGetCUBINSize", (ctti_handle program, size_t *bytes)) \
    ENTRY(image, "nvrtcGetCUBIN", (ctti_handle program, char *image)) \
    ENTRY(log_size, "nvrtcGetProgramLogSize", (ctti_handle program, size_t *bytes)) \
    ENTRY(log, "nvrtcGetProgramLog", (ctti_handle program, char *log)) \
    ENTRY(destroy, "nvrtcDestroyProgram", (ctti_handle *program))

#define CTTI_MEMBER(name, symbol, parameters) ctti_status(*name) parameters;
typedef struct ctti_cuda_driver {
    CTTI_DRIVER_ENTRIES(CTTI_MEMBER)
    CTTI_NEWER_DRIVER_ENTRIES(CTTI_MEMBER)
} ctti_cuda_driver;
typedef struct ctti_cuda_compiler {
    CTTI_COMPILER_ENTRIES(CTTI_MEMBER)
} ctti_cuda_compiler;
#undef CTTI_MEMBER

// What became of looking for a library; `text` says what is missing, in a part of a sentence.
typedef struct ctti_search {
    bool found;
    char path[512];
    char text[512];
} ctti_search;

// Each looks once and keeps what it found; NULL when it is not there or too old. `search` may be NULL.
const ctti_cuda_driver *ctti_find_driver(ctti_search *search);
const ctti_cuda_compiler *ctti_find_compiler(ctti_search *search);

// A tensor [images, height, width, channels] of bfloat16 or int8 (`element_bytes` 2 or 1), `strides` bytes from one pixel, row and image to the next, in boxes of
// [box_images, box_height, box_width, box_channels] pixels that are `step` apart. A box's rows of channels have 64 or 128
// bytes, whose 16-byte pieces are exchanged as hopper.cuh has it. Address and strides are multiples of 16.
typedef struct ctti_image {
    ctti_address address;
    uint64_t channels, width, height, images;
    uint64_t strides[3];
    uint32_t box_channels, box_width, box_height, box_images, step, element_bytes;
} ctti_image;

// Encodes it for the copy engine. Not 0 where the driver cannot.
struct tti_tensor_map;
ctti_status ctti_map_image(const ctti_cuda_driver *driver, struct tti_tensor_map *map, const ctti_image *image);

// The file of the library that an entry point's address lies in; the empty string when nobody knows.
void ctti_file_of_entry(uintptr_t entry, char *path, size_t length);

// Opens the first library that is there of `names` (ends with NULL), looking where CUDA is found on people's machines:
// TTI_CUDA_PATH (only there when it is set), the loader's own paths, toolkits, Debian's packages, Python's packages.
// `pip_folders` are the folders under site-packages that hold it. Returns dlopen's handle.
void *ctti_open_library(const char *const *names, const char *const *pip_folders, ctti_search *search);
