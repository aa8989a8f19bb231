// What is said on stderr when a kernel does what it must not.
#include "block.h"
#include "modules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report(const char *format, ...) {
    char where[256], text[512];
    describe_thread(where, sizeof where);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "CUDA on a processor: %s: %s\n", where, text);
}

const char *short_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void report_waiting() {
    int lines = 0;
    for (int w = 0; w < warp_count && lines < 40; w++) {
        unsigned waiting = warps[w].all & ~warps[w].ready & ~warps[w].ended;
        if (warps[w].ended & warps[w].all)
            fprintf(stderr, "    warp %d: lanes %08x have ended\n", w, warps[w].ended & warps[w].all), lines++;
        while (waiting) {
            const tti_cpu_place &place = threads[w * 32 + __builtin_ctz(waiting)].place;
            unsigned same = 0;
            for (int lane = 0; lane < 32; lane++) {
                if (!(waiting >> lane & 1)) continue;
                const tti_cpu_place &other = threads[w * 32 + lane].place;
                if (other.line == place.line && strcmp(other.what, place.what) == 0) same |= 1u << lane;
            }
            fprintf(stderr, "    warp %d: lanes %08x wait at %s, %s:%d\n", w, same, place.what, short_name(place.file),
                    place.line);
            waiting &= ~same, lines++;
        }
        if (warps[w].ready)
            fprintf(stderr, "    warp %d: lanes %08x can go on\n", w, warps[w].ready), lines++;
    }
}

void fail(int error, const char *text, const tti_cpu_place &place) {
    report("%s at %s:%d: %s", place.what, short_name(place.file), place.line, text);
    end_launch(error);
}

void describe_thread(char *text, int size) {
    const tti_cpu_index &block = runtime.block, &index = runtime.current->index;
    snprintf(text, (size_t)size, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u)",
             current_launch->function->name.c_str(), block.x, block.y, block.z, index.x, index.y, index.z);
}
