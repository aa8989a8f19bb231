// Copies from global to shared memory that a thread begins and later waits for. They land when they are waited for and not
// before, so that a kernel that does not wait reads what is no number.
#include "block.h"

#include <string.h>

bool is_shared(const void *address, unsigned bytes) {
    const char *begin = (const char *)address, *end = begin + bytes;
    return (begin >= shared_memory && end <= shared_memory + current_launch->shared_bytes) ||
           (begin >= current_file->shared_begin && end <= current_file->shared_end);
}

// Until it has been waited for, the target holds nothing that could be used.
void copy_begin(void *shared, const void *global, bool valid, const tti_cpu_place &place) {
    if ((uintptr_t)shared % 16 || (valid && (uintptr_t)global % 16)) fail(716, "an address is not a multiple of 16", place);
    if (!is_shared(shared, 16)) fail(700, "the target is not in shared memory", place);
    Thread *self = current();
    Copy copy;
    copy.target = shared;
    copy.group = self->groups;
    if (valid) memcpy(copy.bytes, global, 16);
    else memset(copy.bytes, 0, 16);
    memset(shared, 0xff, 16);
    if (self->landed == self->copies.size()) {
        self->copies.clear();
        self->landed = 0;
    }
    self->copies.push_back(copy);
}

void copy_commit() { current()->groups++; }

void copy_wait(int left) {
    Thread *self = current();
    for (; self->landed < self->copies.size(); self->landed++) {
        const Copy &copy = self->copies[self->landed];
        if (copy.group >= self->groups - left) break;
        memcpy(copy.target, copy.bytes, 16);
    }
}

void finish_copies(Thread &thread) {
    for (; thread.landed < thread.copies.size(); thread.landed++) {
        const Copy &copy = thread.copies[thread.landed];
        memcpy(copy.target, copy.bytes, 16);
    }
    thread.copies.clear();
    thread.landed = 0;
}
