// Modules: an image is a shared library that the compiler of this folder made, loaded from memory.
#include "modules.h"
#include "state.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <set>
#include <string>

#include "execution.h"

namespace {

std::set<Module *> modules;
std::set<Function *> functions;
const unsigned usual_shared_bytes = 48 << 10;

// An image carries no size: a library ends with its table of sections, or with a section.
size_t size_of_image(const unsigned char *image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    size_t end = header.e_shoff + (size_t)header.e_shnum * header.e_shentsize;
    for (int i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, image + header.e_shoff + (size_t)i * header.e_shentsize, sizeof section);
        if (section.sh_type != SHT_NOBITS && section.sh_offset + section.sh_size > end)
            end = section.sh_offset + section.sh_size;
    }
    return end;
}

#if defined(__x86_64__)
const int this_machine = EM_X86_64;
#elif defined(__aarch64__)
const int this_machine = EM_AARCH64;
#endif

}  // namespace

bool is_function(const Function *function) { return functions.count((Function *)function) != 0; }

EXPORT int cuModuleLoadData(Module **result, const void *image) {
    ENTER_CONTEXT
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
        return complain(invalid_image, __func__, "the image is not one of this folder's compiler");
    if (header.e_machine != this_machine)
        return complain(no_binary, __func__, "the image is for another machine (%d)", header.e_machine);
    size_t bytes = size_of_image((const unsigned char *)image);
    int file = memfd_create("kernels", MFD_CLOEXEC);
    if (file < 0) return out_of_memory;
    for (size_t at = 0; at < bytes;) {
        ssize_t written = write(file, (const char *)image + at, bytes - at);
        if (written <= 0) {
            close(file);
            return out_of_memory;
        }
        at += (size_t)written;
    }
    std::string path = "/proc/self/fd/" + std::to_string(file);
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    auto *attach = library ? (tti_cpu_file(*)(tti_cpu_runtime *))dlsym(library, "tti_cpu_attach") : nullptr;
    const char *problem = !library ? dlerror() : !attach ? "it has no kernels" : nullptr;
    tti_cpu_file description = {};
    if (attach) {
        description = attach(&runtime);
        if (strcmp(description.stamp, TTI_CPU_STAMP) != 0) problem = "another version of this folder compiled it; empty the cache of kernels";
    }
    if (problem) {
        complain(invalid_image, __func__, "the image cannot be loaded: %s", problem);
        if (library) dlclose(library);
        close(file);
        return invalid_image;
    }
    *result = new Module{library, file, description};
    modules.insert(*result);
    return success;
}

EXPORT int cuModuleUnload(Module *module) {
    ENTER_CONTEXT
    if (int status = refuse_in_capture(__func__)) return status;
    if (int status = finish_all()) return status;
    if (!modules.erase(module)) return complain(invalid_handle, __func__, "no such module");
    for (auto at = functions.begin(); at != functions.end();) {
        if ((*at)->module == module) {
            delete *at;
            at = functions.erase(at);
        } else {
            ++at;
        }
    }
    dlclose(module->library);
    close(module->file_descriptor);
    delete module;
    return success;
}

EXPORT int cuModuleGetFunction(Function **result, Module *module, const char *name) {
    ENTER_CONTEXT
    if (!modules.count(module)) return complain(invalid_handle, __func__, "no such module");
    auto *kernel = (const tti_cpu_kernel *)dlsym(module->library, (std::string("tti_cpu_kernel_") + name).c_str());
    if (!kernel) return not_found;  // it may be in another module
    for (Function *function : functions)
        if (function->module == module && function->kernel == kernel) {
            *result = function;
            return success;
        }
    *result = new Function{module, kernel, name, usual_shared_bytes};
    functions.insert(*result);
    return success;
}

EXPORT int cuFuncSetAttribute(Function *function, int attribute, int value) {
    ENTER_CONTEXT
    if (!is_function(function)) return complain(invalid_handle, __func__, "no such function");
    if (attribute == 9) return success;  // a wish for the division of shared memory and cache
    if (attribute != 8) return complain(invalid_value, __func__, "attribute %d is not known", attribute);
    if (value < 0 || value > most_shared_bytes())
        return complain(invalid_value, __func__, "kernel %s: %d bytes of shared memory are more than %d",
                        function->name.c_str(), value, most_shared_bytes());
    function->most_shared_bytes = (unsigned)value;
    return success;
}

void report_line(const Module &module, const unsigned char *instruction) {
    Dl_info info;
    if (!dladdr(instruction, &info) || !info.dli_fbase) return;
    size_t offset = (size_t)(instruction - (const unsigned char *)info.dli_fbase);
    char command[512];
    snprintf(command, sizeof command,
             "(llvm-symbolizer --relativenames -e /proc/%d/fd/%d %#zx || addr2line -Cfie /proc/%d/fd/%d %#zx) 2>/dev/null",
             (int)getpid(), module.file_descriptor, offset, (int)getpid(), module.file_descriptor, offset);
    FILE *output = popen(command, "r");
    if (!output) return;
    char line[512];
    while (fgets(line, sizeof line, output)) {
        // Of a function's name and its place, the place; kernels' files only.
        const char *colon = strchr(line, ':');
        if (colon && colon[1] >= '1' && colon[1] <= '9' && !strstr(line, "_on_cpu.h")) fprintf(stderr, "    at %s", line);
    }
    pclose(output);
}
