// A stand-in for CUDA's run-time compiler: it gives kernel files to clang++, which makes a shared library of each, and that
// library is the image. TTI_CUDA_ON_CPU_CXX names another compiler; it has to be a clang.
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

extern char **environ;

namespace {

namespace fs = std::filesystem;

// The headers of this folder, as the build script wrote them: name, text, …
const char *const own_headers[] = {
#include "headers.inc"
};

enum Status {
    success = 0,
    invalid_input = 3,
    invalid_program = 4,
    invalid_option = 5,
    compilation_failed = 6,
};

struct File {
    std::string name, text;
};

struct Program {
    File source;
    std::vector<File> headers;
    std::string log, image;
};

// A private folder that goes away with this.
struct Folder {
    std::string path;
    Folder() {
        std::error_code error;
        fs::path base = fs::temp_directory_path(error);
        std::string pattern = (error ? fs::path("/tmp") : base) / "cuda-on-cpu-XXXXXX";
        if (mkdtemp(pattern.data())) path = pattern;
    }
    ~Folder() {
        std::error_code error;
        if (!path.empty()) fs::remove_all(path, error);
    }
};

bool write_file(const std::string &folder, const File &file) {
    fs::path path = fs::path(folder) / file.name;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    std::ofstream stream(path, std::ios::binary);
    stream << file.text;
    return stream.good();
}

std::string read_file(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

bool begins(const std::string &text, const char *with) { return text.compare(0, strlen(with), with) == 0; }

// The options of CUDA's compiler that mean something here, as clang's.
bool translate(int count, const char *const *options, std::vector<std::string> &into, std::string &log) {
    for (int i = 0; i < count; i++) {
        std::string option = options[i];
        size_t value = option.find('=');
        if (option == "-D" || option == "-I" || option == "-U") {
            if (i + 1 == count) {
                log = "option '" + option + "' has no value\n";
                return false;
            }
            into.push_back(option + options[++i]);
        } else if (begins(option, "-D") || begins(option, "-I") || begins(option, "-U")) {
            into.push_back(option);
        } else if (begins(option, "--define-macro=")) {
            into.push_back("-D" + option.substr(value + 1));
        } else if (begins(option, "--include-path=")) {
            into.push_back("-I" + option.substr(value + 1));
        } else if (begins(option, "--gpu-architecture=") || begins(option, "-arch=")) {
            size_t digit = option.find_first_of("0123456789", value);
            if (digit == std::string::npos) {
                log = "the architecture in '" + option + "' is not one\n";
                return false;
            }
            into.push_back("-D__CUDA_ARCH__=" + std::to_string(atoi(option.c_str() + digit) * 10));
        } else if (option == "--fmad=false" || option == "-fmad=false") {
            into.push_back("-ffp-contract=off");
        } else if (option.empty() || option[0] != '-') {
            log = "'" + option + "' is not an option\n";
            return false;
        }
    }
    return true;
}

// Runs a command with its output in a file; false when it could not be run or did not end with 0.
bool run(const std::vector<std::string> &words, const std::string &output, std::string &log) {
    std::vector<char *> arguments;
    for (const std::string &word : words) arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child;
    int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        log = "cannot run '" + words[0] + "': " + strerror(error) + "; set TTI_CUDA_ON_CPU_CXX to a clang++\n";
        return false;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    log = read_file(output);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

// A number that no real compiler has: images are never taken for theirs.
EXPORT int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 99;
    return success;
}

EXPORT int nvrtcCreateProgram(Program **program, const char *source, const char *name, int header_count,
                              const char *const *headers, const char *const *header_names) {
    if (!source || header_count < 0) return invalid_input;
    std::string file = name && *name ? fs::path(name).filename().string() : "default_program";
    *program = new Program{{file, source}, {}, {}, {}};
    for (int i = 0; i < header_count; i++) {
        std::string path = header_names[i];
        if (path.empty() || path[0] == '/' || path.find("..") != std::string::npos) {
            delete *program;
            return invalid_input;
        }
        (*program)->headers.push_back({path, headers[i]});
    }
    return success;
}

EXPORT int nvrtcCompileProgram(Program *program, int option_count, const char *const *options) {
    if (!program) return invalid_program;
    Folder folder;
    program->image.clear();
    program->log.clear();
    const char *compiler = getenv("TTI_CUDA_ON_CPU_CXX");
    std::vector<std::string> words = {compiler && *compiler ? compiler : "clang++"};
    for (const char *word : {"-x", "c++", "-std=c++17", "-O2", "-gline-tables-only", "-shared", "-fPIC", "-nostdlib++",
                             "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-fno-math-errno",
                             "-fno-strict-aliasing", "-fstack-clash-protection", "-fwrapv", "-fno-unroll-loops",
                             "-ffp-contract=on", "-Wno-pass-failed", "-Wno-unknown-pragmas", "-Wno-psabi"})
        words.push_back(word);
    // What the GPU's hardware refuses and a processor would do: addresses that are not aligned; and indices outside arrays.
    words.push_back("-fsanitize=alignment,array-bounds");
    words.push_back("-fsanitize-trap=alignment,array-bounds");
#if __clang_major__ >= 20
    words.push_back("-fno-sanitize-merge");  // every check's own place in the source
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) words.push_back("-march=x86-64-v3");
#endif
    if (!translate(option_count, options, words, program->log)) return invalid_option;
    words.push_back("-DTTI_ON_CPU");
    words.push_back("-DTTI_CPU_STAMP=\"" TTI_CPU_STAMP "\"");
    words.push_back("-I" + folder.path);
    words.push_back("-ffile-prefix-map=" + folder.path + "/=");
    words.push_back("-o");
    words.push_back(folder.path + "/image");
    words.push_back(folder.path + "/" + program->source.name);
    words.push_back("-lm");

    bool written = !folder.path.empty() && write_file(folder.path, program->source);
    for (const File &header : program->headers) written = written && write_file(folder.path, header);
    for (size_t i = 0; i + 1 < sizeof own_headers / sizeof *own_headers; i += 2)
        written = written && write_file(folder.path, {own_headers[i], own_headers[i + 1]});
    if (!written) {
        program->log = "the temporary folder cannot be written\n";
        return compilation_failed;
    }
    bool compiled = run(words, folder.path + "/log", program->log);
    const std::string prefix = folder.path + "/";
    for (size_t at; (at = program->log.find(prefix)) != std::string::npos;) program->log.erase(at, prefix.size());
    if (!compiled) return compilation_failed;
    program->image = read_file(folder.path + "/image");
    return program->image.empty() ? compilation_failed : success;
}

EXPORT int nvrtcGetCUBINSize(Program *program, size_t *bytes) {
    if (!program) return invalid_program;
    *bytes = program->image.size();
    return success;
}

EXPORT int nvrtcGetCUBIN(Program *program, char *image) {
    if (!program) return invalid_program;
    memcpy(image, program->image.data(), program->image.size());
    return success;
}

EXPORT int nvrtcGetProgramLogSize(Program *program, size_t *bytes) {
    if (!program) return invalid_program;
    *bytes = program->log.size() + 1;
    return success;
}

EXPORT int nvrtcGetProgramLog(Program *program, char *log) {
    if (!program) return invalid_program;
    memcpy(log, program->log.c_str(), program->log.size() + 1);
    return success;
}

EXPORT int nvrtcDestroyProgram(Program **program) {
    delete *program;
    *program = nullptr;
    return success;
}
