// Faults of kernels: what the processor objects to while a kernel runs is reported with kernel, block and thread, and ends
// the launch with the error that the real driver would give. All other faults go where they went before.
#include "execution.h"
#include "fibers.h"
#include "state.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
struct sigaction previous[4];

// What a check that the compiler put in found; such a trap names its kind in its last byte.
const char *failed_check(const unsigned char *instruction, int *status) {
#if defined(__x86_64__)
    static const unsigned char trap[] = {0x67, 0x0f, 0xb9, 0x40};
    if (memcmp(instruction, trap, sizeof trap) != 0) return nullptr;
    if (instruction[4] == 22) return *status = misaligned_address, "an address that is not aligned to its type";
    if (instruction[4] == 18) return *status = illegal_address, "an index outside an array";
    return "a failed check of the compiler";
#else
    (void)instruction, (void)status;
    return "an illegal instruction or a failed check of the compiler";
#endif
}

void handle(int number, siginfo_t *info, void *state) {
    if (!is_running_kernel()) {
        for (int i = 0; i < 4; i++) {
            if (signals[i] != number) continue;
            const struct sigaction &before = previous[i];
            if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(number, info, state);
            if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(number);
            sigaction(number, &before, nullptr);  // the fault happens again, and ends the process
        }
        return;
    }
    const unsigned char *instruction = interrupted_at(state);
    int status = illegal_address;
    char where[256], what[128];
    const char *check = nullptr;
    if (number == SIGILL) check = failed_check(instruction, &status);
    if (check) snprintf(what, sizeof what, "%s", check);
    else if (number == SIGILL) snprintf(what, sizeof what, "an illegal instruction");
    else if (number == SIGFPE) snprintf(what, sizeof what, "an integer division by zero");
    // The processor names no address where an instruction wants an aligned one (or an address is no address at all).
    else if (number == SIGSEGV && info->si_code == SI_KERNEL)
        status = misaligned_address, snprintf(what, sizeof what, "an address that is not aligned to its type");
    else if (is_below_a_stack(info->si_addr)) snprintf(what, sizeof what, "the thread's stack is too small");
    else snprintf(what, sizeof what, "an access to address %p, where nothing is", info->si_addr);
    describe_thread(where, sizeof where);
    char text[512];
    int length = snprintf(text, sizeof text, "CUDA on a processor: %s: %s\n", where, what);
    if (write(STDERR_FILENO, text, (size_t)length) < 0) {}
    end_launch_from_signal(status, instruction, state);
}

}  // namespace

void catch_faults() {
    // A stack for the handlers: the fiber's may be what is used up.
    static __thread bool has_stack;
    if (!has_stack) {
        has_stack = true;
        const size_t bytes = 256 << 10;
        stack_t now;
        if (sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE || now.ss_size < 32 << 10)) {
            stack_t mine = {};
            mine.ss_sp = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            mine.ss_size = bytes;
            if (mine.ss_sp != MAP_FAILED) sigaltstack(&mine, nullptr);
        }
    }
    // Somebody else may have put handlers in since the last launch.
    for (int i = 0; i < 4; i++) {
        struct sigaction now;
        if (sigaction(signals[i], nullptr, &now) == 0 && now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle) continue;
        struct sigaction mine = {};
        mine.sa_sigaction = handle;
        mine.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&mine.sa_mask);
        sigaction(signals[i], &mine, &previous[i]);
    }
}
