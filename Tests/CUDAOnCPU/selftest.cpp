// Tries the CUDA on a processor of this folder: selftest LIBRARIES KERNELS PARAMETERS, three folders. Each test runs in a
// process of its own, since a fault ends a device for good.
#include "selftest.h"
#include "selftest_kernels.h"

#include <math.h>
#include <sys/wait.h>
#include <functional>

// MARK: What works

static void sums() {
    std::vector<float> x(3 * 1000);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)(i % 17);
    ctti_address source = upload(x), y = allocate(12);
    OK(launch("sums", {y, source, 0, 1000, 0}, 3, 256, 0, true));
    auto result = download<float>(y, 3);
    for (int row = 0; row < 3; row++) {
        float expected = 255;
        for (int i = 0; i < 1000; i++) expected += x[row * 1000 + i];
        CHECK(result[row] == expected);
    }
}

static void shuffles() {
    ctti_address y = allocate(64 * 64);
    OK(launch("shuffles", {y, 0, 0, 0, 0}, 1, 64));
    auto result = download<uint32_t>(y, 64 * 16);
    for (unsigned thread = 0; thread < 64; thread++) {
        const uint32_t *r = &result[thread * 16];
        unsigned lane = thread % 32;
        CHECK(r[0] == 105 && r[1] == 100 + lane / 8 * 8 + 3 && r[2] == 100 + (lane ^ 7));
        CHECK(r[3] == 100 + (lane + 3 > 31 ? lane : lane + 3) && r[4] == 100 + (lane < 3 ? lane : lane - 3));
        CHECK(r[5] == 100 + (lane % 16 + 3 > 15 ? lane : lane + 3));
        CHECK(r[6] == 0x49249249u && r[7] == 2 && r[8] == 496 && (int)r[9] == -9);
        CHECK(r[10] == (lane < 16 ? 120u : 16u));
        CHECK(r[11] == 100 + (lane ^ 1) && r[12] == 32 && r[13] == 2 && r[14] == lane);
    }
}

static void early() {
    ctti_address y = allocate(96 * 4);
    OK(launch("early", {y, 0, 0, 0, 0}, 1, 256));
    auto result = download<float>(y, 96);
    for (int i = 0; i < 96; i++) CHECK(i % 32 < 20 ? result[i] == (float)(95 - i) : isnan(result[i]));
}

static void product_bf16() {
    std::vector<uint16_t> a(16 * 16), b(16 * 8), x(32 * 12);
    std::vector<float> d(16 * 8), y(32 * 4);
    for (auto &v : a) v = random_bf16();
    for (auto &v : b) v = random_bf16();
    for (auto &v : d) v = from_bf16(random_bf16());
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int e = 0; e < 2; e++) {
            uint16_t *f = &x[lane * 12];
            f[0 + e] = a[g * 16 + 2 * t + e], f[2 + e] = a[(g + 8) * 16 + 2 * t + e];
            f[4 + e] = a[g * 16 + 2 * t + 8 + e], f[6 + e] = a[(g + 8) * 16 + 2 * t + 8 + e];
            f[8 + e] = b[(2 * t + e) * 8 + g], f[10 + e] = b[(2 * t + 8 + e) * 8 + g];
            y[lane * 4 + e] = d[g * 8 + 2 * t + e], y[lane * 4 + 2 + e] = d[(g + 8) * 8 + 2 * t + e];
        }
    }
    ctti_address source = upload(x), target = upload(y);
    OK(launch("product_bf16", {target, source, 0, 0, 0}, 1, 32));
    auto result = download<float>(target, 128);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            double expected = d[row * 8 + column];
            for (int k = 0; k < 16; k++) expected += (double)from_bf16(a[row * 16 + k]) * from_bf16(b[k * 8 + column]);
            float got = result[(row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2];
            CHECK(fabs(got - expected) < 1e-5);
        }
}

static void product_s8() {
    std::vector<int8_t> a(16 * 32), b(32 * 8), x(32 * 24);
    std::vector<int32_t> d(16 * 8), y(32 * 4);
    for (auto &v : a) v = (int8_t)generator();
    for (auto &v : b) v = (int8_t)generator();
    for (auto &v : d) v = (int32_t)(generator() % 1000);
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        int8_t *f = &x[lane * 24];
        for (int e = 0; e < 4; e++) {
            f[0 + e] = a[g * 32 + 4 * t + e], f[4 + e] = a[(g + 8) * 32 + 4 * t + e];
            f[8 + e] = a[g * 32 + 4 * t + 16 + e], f[12 + e] = a[(g + 8) * 32 + 4 * t + 16 + e];
            f[16 + e] = b[(4 * t + e) * 8 + g], f[20 + e] = b[(4 * t + 16 + e) * 8 + g];
        }
        for (int i = 0; i < 4; i++) y[lane * 4 + i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    }
    ctti_address source = upload(x), target = upload(y);
    OK(launch("product_s8", {target, source, 0, 0, 0}, 1, 32));
    auto result = download<int32_t>(target, 128);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            int expected = d[row * 8 + column];
            for (int k = 0; k < 32; k++) expected += a[row * 32 + k] * b[k * 8 + column];
            CHECK(result[(row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2] == expected);
        }
}

static void matrices() {
    ctti_address y = allocate(32 * 32);
    OK(launch("matrices", {y, 0, 0, 0, 0}, 1, 32));
    auto result = download<uint16_t>(y, 32 * 16);
    for (int lane = 0; lane < 32; lane++)
        for (int matrix = 0; matrix < 4; matrix++)
            for (int e = 0; e < 2; e++) {
                int row = lane / 4, column = 2 * (lane % 4) + e;
                CHECK(result[lane * 16 + matrix * 2 + e] == matrix * 64 + row * 8 + column);
                CHECK(result[lane * 16 + 8 + matrix * 2 + e] == matrix * 64 + column * 8 + row);
            }
}

static void copies() {
    std::vector<uint32_t> x(128 * 4);
    for (size_t i = 0; i < x.size(); i++) x[i] = (uint32_t)i;
    ctti_address source = upload(x), y = allocate(192 * 16);
    OK(launch("copies", {y, source, 0, 0, 0}, 1, 64, 2048));
    auto result = download<uint32_t>(y, 192 * 4);
    for (uint32_t i = 0; i < 256; i++) {
        CHECK(result[i] == i);
        CHECK(result[256 + i] == 0xffffffffu);
        CHECK(result[512 + i] == (i / 4 % 2 == 0 ? 256 + i : 0));
    }
}

static void counts() {
    ctti_address y = allocate(32);
    OK(cuda.fill(y, 0, 32, stream));
    OK(launch("counts", {y, 0, 0, 0, 0}, 5, 128));
    auto result = download<uint32_t>(y, 8);
    float half;
    memcpy(&half, &result[2], 4);
    CHECK(result[0] == 640 && result[1] == 127 && half == 320 && result[3] == 1 && result[4] == 0xffffffffu);
    CHECK(result[6] == 0 && result[7] == 640);
}

static void last_block() {
    ctti_address y = allocate(4), parts = allocate(40 * 4), count = allocate(4);
    OK(cuda.fill(count, 0, 4, stream));
    OK(launch("last_block", {y, parts, count, 0, 0}, 40, 64));
    CHECK(download<float>(y, 1)[0] == 40 * 39 / 2 * 64 + 63 * 64 / 2 * 40);
}

static void marks() {
    ctti_address y = allocate(128), left = allocate(3 * 32 * 8);
    OK(cuda.fill(left, 0, 3 * 32 * 8, stream));
    OK(launch("marks", {y, left, 0, 0, 0}, 4, 32));
    auto result = download<float>(y, 32);
    for (int i = 0; i < 32; i++) CHECK(result[i] == (float)(3 + 3 * i));
}

static void unwritten() {
    ctti_address y = allocate(128);
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        OK(cuda.fill(y, 0, 128, stream));
        OK(launch("unwritten", {y, 0, 0, 0, dynamic}, 1, 32, 128));
        for (float x : download<float>(y, 32)) CHECK(isnan(x));
    }
    for (float x : download<float>(allocate(4000), 1000)) CHECK(isnan(x));
    for (float x : download<float>(allocate(100 << 20), 1000)) CHECK(isnan(x));
}

static void awaited() {
    ctti_address y = allocate(256);
    OK(launch("awaited", {y, 0, 0, 0, 0}, 1, 64));
    for (float x : download<float>(y, 64)) CHECK(x == 1);
}

static void orders() {
    ctti_address y = allocate(256);
    int wrong = 0;
    for (const char *order : {"", "backward", "1", "2"}) {
        setenv("TTI_CUDA_ON_CPU_ORDER", order, 1);
        OK(launch("racing", {y, 0, 0, 0, 1}, 1, 64));
        auto result = download<float>(y, 64);
        for (int i = 0; i < 64; i++) CHECK(result[i] == (float)(i ^ 32));
        OK(launch("racing", {y, 0, 0, 0, 0}, 1, 64));
        result = download<float>(y, 64);
        for (int i = 0; i < 64; i++) wrong |= isnan(result[i]) ? i < 32 ? 1 : 2 : 0;
        sums(), shuffles(), early(), copies(), last_block(), awaited();
    }
    CHECK(wrong == 3);
}

static void graphs() {
    std::vector<float> host = {1, 2, 3, 4};
    void *pinned;
    OK(cuda.allocate_host(&pinned, 16, 0));
    memcpy(pinned, host.data(), 16);
    ctti_address y = allocate(16), copy = allocate(16);
    ctti_handle graph, program, event;
    OK(cuda.create_event(&event, 0));
    OK(cuda.begin_capture(stream, 0));
    OK(cuda.copy_to_device(y, pinned, 16, stream));
    OK(launch("add_one", {y, 0, 0, 4, 0}, 1, 256));
    OK(cuda.copy(copy, y, 16, stream));
    OK(cuda.fill(y, 0, 16, stream));
    OK(cuda.end_capture(stream, &graph));
    CHECK(isnan(download<float>(copy, 4)[0]));
    OK(cuda.instantiate(&program, graph, 0));
    OK(cuda.destroy_graph(graph));
    for (int round = 0; round < 3; round++) {
        ((float *)pinned)[0] = (float)round;
        OK(cuda.launch_graph(program, stream));
        auto result = download<float>(copy, 4);
        CHECK(result[0] == (float)round + 1 && result[3] == 5 && download<float>(y, 4)[2] == 0);
    }
    // Misuse.
    ctti_address other;
    for (int misuse = 0; misuse < 4; misuse++) {
        OK(cuda.begin_capture(stream, 0));
        int status = misuse == 0   ? cuda.allocate(&other, 16)
                     : misuse == 1 ? cuda.synchronize_stream(stream)
                     : misuse == 2 ? cuda.release(y)
                                   : cuda.unload_module(module);
        CHECK_STATUS(status, 900);
        CHECK_STATUS(cuda.end_capture(stream, &graph), 901);
    }
    OK(cuda.begin_capture(stream, 2));
    OK(cuda.allocate(&other, 16));
    OK(cuda.record_event(event, stream));
    OK(cuda.end_capture(stream, &graph));
    CHECK_STATUS(cuda.synchronize_event(event), 907);
    OK(cuda.destroy_program(program));
    CHECK_STATUS(cuda.launch_graph(program, stream), 400);
}

static void late() {
    setenv("TTI_CUDA_ON_CPU_LATE", "1", 1);
    float *pinned;
    OK(cuda.allocate_host((void **)&pinned, 16, 0));
    std::vector<float> pageable = {1, 2, 3, 4};
    ctti_address y = upload(pageable);
    pageable[0] = 9;
    OK(launch("add_one", {y, 0, 0, 4, 0}, 1, 256));
    OK(cuda.copy_to_host(pinned, y, 16, stream));
    CHECK(isnan(pinned[0]));
    OK(cuda.synchronize_stream(stream));
    CHECK(pinned[0] == 2 && pinned[3] == 5);
}

static void limits() {
    ctti_handle function;
    ctti_address y = allocate(128);
    OK(cuda.function(&function, module, "unwritten"));
    OK(launch("unwritten", {y, 0, 0, 0, 1}, 1, 32, 49152));
    CHECK_STATUS(launch("unwritten", {y, 0, 0, 0, 1}, 1, 32, 49153), 1);
    CHECK_STATUS(cuda.set_function_attribute(function, 8, 232449), 1);
    OK(cuda.set_function_attribute(function, 8, 232448));
    OK(launch("unwritten", {y, 0, 0, 0, 1}, 1, 32, 232448));
    CHECK_STATUS(launch("unwritten", {y, 0, 0, 0, 0}, 1, 33), 1);
    CHECK_STATUS(launch("unwritten", {y, 0, 0, 0, 0}, 0, 32), 1);
    CHECK_STATUS(cuda.function(&function, module, "nothing"), 500);
    CHECK_STATUS(cuda.copy(y, y + 16, 32, stream), 1);
    CHECK_STATUS(cuda.fill(y, 0, 129, stream), 1);
    CHECK_STATUS(cuda.release(y + 16), 1);
    OK(cuda.release(y));
    CHECK_STATUS(cuda.release(y), 1);
    setenv("TTI_CUDA_ON_CPU_MEMORY", "1000000", 1);
    OK(cuda.allocate(&y, 600000));
    ctti_address other;
    CHECK_STATUS(cuda.allocate(&other, 600000), 2);
    size_t free, total;
    OK(cuda.memory_info(&free, &total));
    CHECK(free == 400000 && total == 1000000);
    OK(cuda.release(y));
    OK(cuda.allocate(&other, 600000));
    setenv("TTI_CUDA_ON_CPU_CAPABILITY", "7.5", 1);
    setenv("TTI_CUDA_ON_CPU_DRIVER", "12040", 1);
    setenv("TTI_CUDA_ON_CPU_DEVICES", "0", 1);
    int major, minor, version, count;
    OK(cuda.device_attribute(&major, 75, 0));
    OK(cuda.device_attribute(&minor, 76, 0));
    OK(cuda.driver_version(&version));
    OK(cuda.device_count(&count));
    CHECK(major == 7 && minor == 5 && version == 12040 && count == 0);
    CHECK_STATUS(cuda.device_attribute(&minor, 9999, 0), 1);
    ctti_handle strange;
    std::string wrong(64, '\0');
    CHECK_STATUS(cuda.load_module(&strange, wrong.data()), 200);
    std::string log, none;
    CHECK_STATUS(compile("#include \"device.cuh\"\nKERNEL(a, tti_add, 32) { nonsense; }\n", none, log), 6);
    CHECK(log.find("selftest.cu:2") != std::string::npos);
    cuda.set_context(nullptr);
    CHECK_STATUS(cuda.allocate(&other, 16), 201);
}

static void failing() {
    ctti_address y = allocate(16);
    OK(cuda.fill(y, 0, 16, stream));
    setenv("TTI_CUDA_ON_CPU_FAIL", "add_one", 1);
    OK(launch("sums", {y, y, 0, 1, 0}, 1, 32));
    OK(launch("add_one", {y, 0, 0, 4, 0}, 1, 256));
    CHECK_STATUS(cuda.synchronize_stream(stream), 700);
    CHECK_STATUS(cuda.fill(y, 0, 16, stream), 700);
    const char *name;
    OK(cuda.error_name(700, &name));
    CHECK(strcmp(name, "CUDA_ERROR_ILLEGAL_ADDRESS") == 0);
}

// MARK: Figures

static void figures() {
    const int size = 256;
    std::vector<uint16_t> a(size * size), b(size * size);
    for (auto &v : a) v = random_bf16();
    for (auto &v : b) v = random_bf16();
    ctti_address x = upload(a), other = upload(b), y = allocate(size * size * 4);
    ctti_handle function;
    OK(cuda.function(&function, module, "matmul"));
    Arguments arguments = {y, x, other, size, 0};
    void *parameters[] = {&arguments};
    ctti_launch_configuration configuration = {4, 4, 1, 128, 1, 1, 0, stream, nullptr, 0};
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        double begin = seconds();
        OK(cuda.launch(&configuration, function, parameters, nullptr));
        best = fmin(best, seconds() - begin);
    }
    auto result = download<float>(y, size * size);
    for (int row = 0; row < size; row += 7)
        for (int column = 0; column < size; column++) {
            double expected = 0;
            for (int k = 0; k < size; k++)
                expected += (double)from_bf16(a[row * size + k]) * from_bf16(b[column * size + k]);
            CHECK(fabs(result[row * size + column] - expected) < 1e-3);
        }
    printf("256×256×256 bfloat16 product: %.2f ms\n", best * 1e3);
    const int64_t turns = 20000;
    double begin = seconds();
    OK(launch("turns", {y, 0, 0, turns, 0}, 1, 256));
    double took = seconds() - begin;
    printf("shuffles: %.1f ns each of a warp, %.0f million turns of threads a second\n", took / (turns * 8) * 1e9,
           turns * 256 / took * 1e-6);
    begin = seconds();
    OK(launch("barriers", {y, 0, 0, turns, 0}, 1, 256));
    took = seconds() - begin;
    printf("barriers of 256 threads: %.2f µs each, %.0f million turns of threads a second\n", took / turns * 1e6,
           turns * 256 / took * 1e-6);
    OK(cuda.release(y));
    y = allocate((size_t)4 << 20);
    begin = seconds();
    OK(launch("store", {y, 0, 0, 1 << 20, 0}, 4096, 256));
    printf("threads that meet nobody: %.1f ns each\n", (seconds() - begin) / (1 << 20) * 1e9);
}

// MARK: What must be found

struct Fault {
    const char *kernel;
    int status;
    unsigned block, shared;
    int flag;
    const char *text;
};

static const Fault faults[] = {
    {"store", 700, 256, 0, 0, "kernel store, block (0, 0, 0), thread (32, 0, 0): an access to address"},
    {"stuck_barrier", 719, 64, 0, 0, "the calling lane is not in the mask"},
    {"stuck_warp", 719, 64, 0, 0, "warp 0: lanes fffffff7 wait at __shfl_xor_sync, device.cuh:"},
    {"ended_lanes", 719, 32, 0, 0, "lanes of its warp wait for it at __shfl_xor_sync"},
    {"mixed_primitives", 719, 32, 0, 0, "while other lanes of the warp are at __ballot_sync"},
    {"misaligned", 716, 32, 0, 0, "thread (9, 0, 0): an address that is not aligned"},
    {"outside_array", 700, 32, 0, 1, "thread (31, 0, 0): an index outside an array"},
    {"beside_dynamic", 700, 32, 40, 9, "wrote beside its 40 bytes"},
    {"beside_dynamic", 700, 32, 128, 97, "thread (31, 0, 0): an access to address"},
    {"deep", 700, 32, 0, 0, "the thread's stack is too small"},
    {"matrices_of_global", 700, 32, 0, 0, "the address is not in shared memory"},
    {"sleeps", 719, 32, 0, 0, "__nanosleep at selftest.cu"},
    {"misaligned_atomic", 716, 32, 0, 0, "an address that is not aligned"},
    {"misaligned_float", 716, 32, 0, 0, "thread (5, 0, 0): an address that is not aligned"},
    {"diverged_barrier", 719, 64, 0, 0, "lanes of a warp are at different barriers"},
    {"wild", 700, 32, 0, 0, "an access to address (nil)"},
    {"freed", 700, 32, 0, 0, "an access to address"},
    {"marks", 719, 32, 0, 1, "no block before this one has left it"},
    {"marks", 719, 32, 0, 2, "nobody has cleared what was left here"},
    {"divides", 700, 32, 0, 0, "an integer division by zero"},
    {"unwritten", 719, 32, 128, -1, "never waits for its inputs"},
};

static void fault(const Fault &f) {
    ctti_address y = allocate(128);
    // `store` writes 256 floats where there is room for 32.
    ctti_address freed = allocate(128);
    OK(cuda.release(freed));
    int status = launch(f.kernel, {y, 0, freed, 256, f.flag}, 1, f.block, f.shared, f.flag == -1);
    CHECK_STATUS(status, f.status);
    CHECK_STATUS(cuda.fill(y, 0, 16, stream), f.status);
}

// Runs in a process of its own; what it says on stderr has to hold `text`.
static bool passes(const char *name, const char *text, const std::function<void()> &test) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]), close(ends[1]);
        start();
        test();
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, (size_t)count);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    bool good = status == 0 && said.find(text) != std::string::npos;
    if (!good || getenv("SELFTEST_VERBOSE")) printf("%s: %s\n%s\n", name, good ? "ok" : "FAILED", said.c_str());
    return good;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    setenv("SELFTEST_KERNELS", arguments[2], 1);
    setenv("SELFTEST_PARAMETERS", arguments[3], 1);
    for (const char *name : {"ORDER", "LATE", "FAIL", "MEMORY", "DRIVER", "CAPABILITY", "DEVICES"})
        unsetenv((std::string("TTI_CUDA_ON_CPU_") + name).c_str());
    open_libraries(arguments[1]);
    std::string log;
    if (compile(kernels_source, image, log) != 0) return fprintf(stderr, "%s\n", log.c_str()), 1;
    printf("%s", log.c_str());
    const struct {
        const char *name;
        void (*test)();
    } tests[] = {
        {"sums", sums}, {"shuffles", shuffles}, {"early", early}, {"product_bf16", product_bf16},
        {"product_s8", product_s8}, {"matrices", matrices}, {"copies", copies}, {"counts", counts},
        {"last_block", last_block}, {"marks", marks}, {"unwritten", unwritten}, {"awaited", awaited}, {"orders", orders},
        {"graphs", graphs}, {"late", late}, {"limits", limits}, {"failing", failing}, {"figures", figures},
    };
    int failed = 0, all = 0;
    for (auto &test : tests) failed += !passes(test.name, "", test.test), all++;
    for (auto &f : faults) failed += !passes(f.kernel, f.text, [&] { fault(f); }), all++;
    printf("%d of %d tests passed\n", all - failed, all);
    return failed ? 1 : 0;
}
