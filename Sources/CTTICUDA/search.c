// Where CUDA's libraries are on people's machines.
#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *open_at(const char *folder, const char *const *names, ctti_search *search) {
    for (size_t i = 0; names[i]; i++) {
        char path[sizeof search->path];
        int length = folder ? snprintf(path, sizeof path, "%s/%s", folder, names[i])
                            : snprintf(path, sizeof path, "%s", names[i]);
        if (length < 0 || (size_t)length >= sizeof path) continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library) {
            search->found = true;
            memcpy(search->path, path, sizeof path);
            return library;
        }
    }
    return NULL;
}

// The same in every folder that matches a pattern, the last (the newest version) first.
static void *open_matching(const char *const *names, ctti_search *search, const char *format, ...) {
    char pattern[PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(pattern, sizeof pattern, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof pattern) return NULL;
    glob_t found;
    if (glob(pattern, GLOB_ONLYDIR, NULL, &found) != 0) return NULL;
    void *library = NULL;
    for (size_t i = found.gl_pathc; i > 0 && !library; i--) library = open_at(found.gl_pathv[i - 1], names, search);
    globfree(&found);
    return library;
}

// Python's packages under a prefix such as /usr or a virtual environment.
static void *open_in_python(
    const char *prefix, const char *const *names, const char *const *pip_folders, ctti_search *search
) {
    if (!prefix || !*prefix) return NULL;
    for (size_t i = 0; pip_folders[i]; i++) {
        void *library = open_matching(names, search, "%s/lib/python3*/*-packages/%s", prefix, pip_folders[i]);
        if (library) return library;
    }
    return NULL;
}

// The prefix of the python3 that the shell would start, before links are followed (a virtual environment's).
static bool python_prefix(char prefix[PATH_MAX]) {
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t length = strcspn(path, ":");
        if (length > 4 && length < PATH_MAX - 16 && strncmp(path + length - 4, "/bin", 4) == 0) {
            snprintf(prefix, PATH_MAX, "%.*s/python3", (int)length, path);
            FILE *file = fopen(prefix, "rb");
            if (file) {
                fclose(file);
                prefix[length - 4] = 0;
                return true;
            }
        }
        path += length + (path[length] == ':');
    }
    return false;
}

void *ctti_open_library(const char *const *names, const char *const *pip_folders, ctti_search *search) {
    ctti_search ignored;
    if (!search) search = &ignored;
    memset(search, 0, sizeof *search);
    void *library = NULL;
    const char *only = getenv("TTI_CUDA_PATH");
    if (only && *only) {
        static const char *const folders[] = {"", "/lib64", "/lib", "/lib/x86_64-linux-gnu", NULL};
        for (size_t i = 0; folders[i] && !library; i++) {
            char folder[PATH_MAX];
            snprintf(folder, sizeof folder, "%s%s", only, folders[i]);
            library = open_at(folder, names, search);
        }
        if (!library) snprintf(search->text, sizeof search->text, "no %s in %s (TTI_CUDA_PATH)", names[0], only);
        return library;
    }
    // Where the loader looks itself: beside the driver, in Debian's packages, in LD_LIBRARY_PATH.
    if ((library = open_at(NULL, names, search))) return library;
    static const char *const toolkits[] = {"CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX", NULL};
    for (size_t i = 0; toolkits[i]; i++) {
        const char *folder = getenv(toolkits[i]);
        if (folder && *folder && (library = open_matching(names, search, "%s/lib*", folder))) return library;
    }
    static const char *const folders[] = {
        "/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/opt/cuda/lib64", "/usr/local/nvidia/lib64",
        "/usr/lib/*-linux-gnu", "/usr/lib/wsl/lib", NULL,
    };
    for (size_t i = 0; folders[i]; i++) {
        if ((library = open_matching(names, search, "%s", folders[i]))) return library;
    }
    char prefix[PATH_MAX];
    if ((library = open_in_python(getenv("VIRTUAL_ENV"), names, pip_folders, search))
        || (library = open_in_python(getenv("CONDA_PREFIX"), names, pip_folders, search))
        || (python_prefix(prefix) && (library = open_in_python(prefix, names, pip_folders, search)))) {
        return library;
    }
    const char *home = getenv("HOME");
    if (home && *home) {
        snprintf(prefix, sizeof prefix, "%s/.local", home);
        if ((library = open_in_python(prefix, names, pip_folders, search))) return library;
    }
    if ((library = open_in_python("/usr", names, pip_folders, search))
        || (library = open_in_python("/usr/local", names, pip_folders, search))) {
        return library;
    }
    snprintf(search->text, sizeof search->text, "no %s", names[0]);
    return NULL;
}

void ctti_file_of_entry(uintptr_t entry, char *path, size_t length) {
    Dl_info information;
    const bool found = dladdr((const void *)entry, &information) && information.dli_fname;
    snprintf(path, length, "%s", found ? information.dli_fname : "");
}

// Fills a table of entry points; says which one is missing.
static bool fill(void *library, const char *const *symbols, void **table, size_t count, ctti_search *search) {
    for (size_t i = 0; i < count; i++) {
        table[i] = dlsym(library, symbols[i]);
        if (!table[i]) {
            search->found = false;
            snprintf(search->text, sizeof search->text, "%s is too old (no %s)", search->path, symbols[i]);
            return false;
        }
    }
    return true;
}

#define CTTI_SYMBOL(name, symbol, parameters) symbol,

static ctti_cuda_driver driver;
static ctti_search driver_search;

static void look_for_driver(void) {
    static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL}, *const nowhere[] = {NULL};
    static const char *const symbols[] = {CTTI_DRIVER_ENTRIES(CTTI_SYMBOL)};
    void *library = ctti_open_library(names, nowhere, &driver_search);
    // The driver is the system's even where the other libraries are somewhere else.
    if (!library) library = open_at(NULL, names, &driver_search);
    const size_t count = sizeof symbols / sizeof symbols[0];
    if (!library || !fill(library, symbols, (void **)&driver, count, &driver_search)) return;
    static const char *const newer[] = {CTTI_NEWER_DRIVER_ENTRIES(CTTI_SYMBOL)};
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) ((void **)&driver)[count + i] = dlsym(library, newer[i]);
}

const ctti_cuda_driver *ctti_find_driver(ctti_search *search) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_for_driver);
    if (search) *search = driver_search;
    return driver_search.found ? &driver : NULL;
}

static ctti_cuda_compiler compiler;
static ctti_search compiler_search;

static void look_for_compiler(void) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so", NULL};
    static const char *const pip_folders[] = {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", NULL};
    static const char *const symbols[] = {CTTI_COMPILER_ENTRIES(CTTI_SYMBOL)};
    void *library = ctti_open_library(names, pip_folders, &compiler_search);
    if (library) fill(library, symbols, (void **)&compiler, sizeof symbols / sizeof symbols[0], &compiler_search);
}

const ctti_cuda_compiler *ctti_find_compiler(ctti_search *search) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_for_compiler);
    if (search) *search = compiler_search;
    return compiler_search.found ? &compiler : NULL;
}
