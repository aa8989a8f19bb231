// What the tests of the CUDA on a processor are written with: both libraries, a stream, and short names for common calls.
#pragma once

#include "../../Sources/CTTICUDA/include/driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

static ctti_cuda_driver cuda;
static ctti_cuda_compiler compiler;
static std::string image;
static ctti_handle module, stream;
static std::mt19937 generator(7);

struct Arguments {
    ctti_address y, x, other;
    int64_t count;
    int32_t flag;
};

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "selftest.cpp:%d: not so: %s\n", __LINE__, #condition);        \
            _exit(1);                                                                      \
        }                                                                                  \
    } while (0)
#define OK(call) CHECK_STATUS(call, 0)
#define CHECK_STATUS(call, expected)                                                                           \
    do {                                                                                                       \
        int status_ = (call);                                                                                  \
        if (status_ != (expected)) {                                                                           \
            fprintf(stderr, "selftest.cpp:%d: %s gave %d, not %d\n", __LINE__, #call, status_, (int)(expected)); \
            _exit(1);                                                                                          \
        }                                                                                                      \
    } while (0)

static std::string read_file(const std::string &path) {
    std::ifstream file(path);
    CHECK(file.good());
    return {std::istreambuf_iterator<char>(file), {}};
}

static void open_libraries(const std::string &folder) {
    void *driver = dlopen((folder + "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
    void *nvrtc = dlopen((folder + "/libnvrtc.so.13").c_str(), RTLD_NOW | RTLD_LOCAL);
    CHECK(driver && nvrtc);
#define FIND(name, symbol, parameters) CHECK((*(void **)&cuda.name = dlsym(driver, symbol)));
    CTTI_DRIVER_ENTRIES(FIND)
#undef FIND
#define FIND(name, symbol, parameters) CHECK((*(void **)&compiler.name = dlsym(nvrtc, symbol)));
    CTTI_COMPILER_ENTRIES(FIND)
#undef FIND
}

static int compile(const std::string &source, std::string &result, std::string &log) {
    static std::string texts[2];
    const char *headers[] = {texts[0].c_str(), texts[1].c_str()}, *names[] = {"device.cuh", "Parameters.h"};
    if (texts[0].empty()) {
        texts[0] = read_file(getenv("SELFTEST_KERNELS") + std::string("/device.cuh"));
        texts[1] = read_file(getenv("SELFTEST_PARAMETERS") + std::string("/Parameters.h"));
        headers[0] = texts[0].c_str(), headers[1] = texts[1].c_str();
    }
    const char *options[] = {"--gpu-architecture=sm_90", "-default-device", "-DTTI_BF16"};
    ctti_handle program;
    OK(compiler.create(&program, source.c_str(), "selftest.cu", 2, headers, names));
    int status = compiler.compile(program, 3, options);
    size_t size;
    OK(compiler.log_size(program, &size));
    log.resize(size);
    OK(compiler.log(program, log.data()));
    OK(compiler.image_size(program, &size));
    result.resize(size);
    OK(compiler.image(program, result.data()));
    OK(compiler.destroy(&program));
    return status;
}

static void start() {
    int device;
    ctti_handle context;
    OK(cuda.init(0));
    OK(cuda.device(&device, 0));
    OK(cuda.retain_context(&context, device));
    OK(cuda.set_context(context));
    OK(cuda.create_stream(&stream, 1));
    OK(cuda.load_module(&module, image.data()));
}

static int launch(const char *name, Arguments arguments, unsigned grid, unsigned block, unsigned shared = 0,
                  bool early = false) {
    ctti_handle function;
    OK(cuda.function(&function, module, name));
    ctti_launch_attribute attribute = {6, {}, {}};
    attribute.value.programmatic_serialization = 1;
    ctti_launch_configuration configuration = {grid, 1, 1, block, 1, 1, shared, stream, &attribute, early ? 1u : 0u};
    void *parameters[] = {&arguments};
    return cuda.launch(&configuration, function, parameters, nullptr);
}

static ctti_address allocate(size_t bytes) {
    ctti_address address;
    OK(cuda.allocate(&address, bytes));
    return address;
}

template <class T> static ctti_address upload(const std::vector<T> &values) {
    ctti_address address = allocate(values.size() * sizeof(T));
    OK(cuda.copy_to_device(address, values.data(), values.size() * sizeof(T), stream));
    return address;
}

template <class T> static std::vector<T> download(ctti_address address, size_t count) {
    std::vector<T> values(count);
    OK(cuda.copy_to_host(values.data(), address, count * sizeof(T), stream));
    OK(cuda.synchronize_stream(stream));
    return values;
}

static float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}
static uint16_t random_bf16() {
    float x = std::normal_distribution<float>()(generator);
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
}

static double seconds() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}
