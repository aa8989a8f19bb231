// Compiled kernel files that were loaded.
#pragma once

#include "device_runtime.h"

#include <string>

struct Module {
    void *library;
    int file_descriptor;
    tti_cpu_file file;
};

struct Function {
    const Module *module;
    const tti_cpu_kernel *kernel;
    std::string name;
    unsigned most_shared_bytes;  // dynamic; more than the usual has to be asked for
};

// Writes the source line of an instruction, where a tool that knows it is there.
void report_line(const Module &module, const unsigned char *instruction);
// The module's function still exists.
bool is_function(const Function *function);
