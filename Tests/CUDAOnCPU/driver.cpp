// A CUDA driver whose device is the processor: the device, contexts and errors. Kernels come from the compiler of this
// folder. Environment variables make it another device, or one that fails:
//
//     TTI_CUDA_ON_CPU_DRIVER=12040       the driver's version
//     TTI_CUDA_ON_CPU_DEVICES=0          how many devices there are
//     TTI_CUDA_ON_CPU_CAPABILITY=7.5     the device's compute capability
//     TTI_CUDA_ON_CPU_MEMORY=1000000     its memory in bytes
//     TTI_CUDA_ON_CPU_FAIL=kernel        a launch of that kernel stops the device, which the next waiting call finds
//     TTI_CUDA_ON_CPU_LATE=1             work is put off until somebody waits for it
//     TTI_CUDA_ON_CPU_ORDER=backward     the order of threads: backward, or a number that they are mixed by
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

std::recursive_mutex lock;
int sticky, coming;

static bool initialized;
static int retained;
static int the_context;  // its address is the handle
static thread_local void *thread_context;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

bool is_initialized() { return initialized; }
bool has_context() { return thread_context && retained > 0; }

int complain(int status, const char *call, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "CUDA on a processor: %s: %s\n", call, text);
    return status;
}

static int capability() {
    const char *text = getenv("TTI_CUDA_ON_CPU_CAPABILITY");
    int major = 9, minor = 0;
    if (text) sscanf(text, "%d.%d", &major, &minor);
    return major * 10 + minor;
}

int most_shared_bytes() {
    switch (capability()) {
    case 70: return 96 << 10;
    case 75: return 64 << 10;
    case 80: case 87: return 163 << 10;
    case 86: case 89: case 120: return 99 << 10;
    default: return 227 << 10;
    }
}

EXPORT int cuInit(unsigned flags) {
    std::lock_guard<std::recursive_mutex> hold(lock);
    if (flags != 0) return invalid_value;
    if (number("TTI_CUDA_ON_CPU_DEVICES", 1) <= 0) return no_device;
    initialized = true;
    return success;
}

EXPORT int cuDriverGetVersion(int *version) {
    *version = number("TTI_CUDA_ON_CPU_DRIVER", 13000);
    return success;
}

EXPORT int cuDeviceGetCount(int *count) {
    ENTER
    *count = number("TTI_CUDA_ON_CPU_DEVICES", 1);
    return success;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
    ENTER
    if (ordinal < 0 || ordinal >= number("TTI_CUDA_ON_CPU_DEVICES", 1)) return invalid_device;
    *device = ordinal;
    return success;
}

EXPORT int cuDeviceGetName(char *name, int length, int) {
    ENTER
    snprintf(name, (size_t)length, "CUDA on a processor");
    return success;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int) {
    ENTER
    static const int known[][2] = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 0x7fffffff}, {6, 65535}, {7, 65535},  // threads, grids
        {8, 48 << 10}, {10, 32}, {12, 65536},             // shared memory of a block, lanes, registers
        {13, 1980000}, {16, 132}, {36, 2619000}, {37, 5120},  // clock, multiprocessors, memory clock and width
        {38, 1 << 20}, {39, 2048}, {41, 1},              // L2 cache, threads of a multiprocessor, unified addresses
        {81, 228 << 10}, {82, 65536},                      // shared memory, registers of a multiprocessor
    };
    if (attribute == 75) return *value = capability() / 10, success;
    if (attribute == 76) return *value = capability() % 10, success;
    if (attribute == 97) return *value = most_shared_bytes(), success;
    for (auto &entry : known)
        if (entry[0] == attribute) return *value = entry[1], success;
    return complain(invalid_value, __func__, "attribute %d is not known", attribute);
}

// MARK: Contexts

EXPORT int cuDevicePrimaryCtxRetain(void **context, int) {
    ENTER
    retained++;
    *context = &the_context;
    return success;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
    ENTER
    if (retained == 0) return complain(invalid_context, __func__, "it was not retained");
    if (retained == 1) {
        int status = finish_all();
        bool intact = is_memory_intact();
        release_all_memory();
        retained = 0;
        return status ? status : intact ? success : sticky = illegal_address;
    }
    retained--;
    return success;
}

EXPORT int cuCtxSetCurrent(void *context) {
    ENTER
    if (context && (context != &the_context || retained == 0))
        return complain(invalid_context, __func__, "no such context");
    thread_context = context;
    return success;
}

// MARK: Errors

static const struct {
    int status;
    const char *name, *text;
} errors[] = {
    {success, "CUDA_SUCCESS", "no error"},
    {invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {no_device, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {no_binary, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {not_ready, "CUDA_ERROR_NOT_READY", "device not ready"},
    {illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {misaligned_address, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {not_supported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {capture_unmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {capture_implicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {captured_event, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
};

EXPORT int cuGetErrorName(int status, const char **text) {
    for (auto &error : errors)
        if (error.status == status) return *text = error.name, success;
    *text = nullptr;
    return invalid_value;
}

EXPORT int cuGetErrorString(int status, const char **text) {
    for (auto &error : errors)
        if (error.status == status) return *text = error.text, success;
    *text = nullptr;
    return invalid_value;
}
