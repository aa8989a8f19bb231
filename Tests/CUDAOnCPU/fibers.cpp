// Fibers: stacks, and changing from one to another; see fibers.h.
#include "fibers.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

// MARK: Stacks

// An odd number of pages apart: otherwise the processor would keep all stacks' addresses in the same few entries.
static const size_t stack_bytes = 33 * 4096, guard_bytes = 4 * 4096;
static const int stack_count = 1025;
static char *stacks_begin;
static Stack stacks[stack_count];
static Stack *free_stacks[stack_count];
static int free_count;

static void make_stacks() {
    void *memory = mmap(nullptr, stack_count * stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "CUDA on a processor: no memory for stacks\n");
        abort();
    }
    stacks_begin = (char *)memory;
    for (int i = 0; i < stack_count; i++) {
        char *low = stacks_begin + i * stack_bytes;
        // Stacks begin at different lines of the first-level cache: otherwise 32 lanes would use the same few.
        stacks[i] = {low + guard_bytes, low + stack_bytes - i % 31 * 128, false};
    }
    give_all_stacks();
}

Stack *take_stack() {
    if (!stacks_begin) make_stacks();
    if (free_count == 0) abort();
    Stack *stack = free_stacks[--free_count];
    if (!stack->used) {
        stack->used = true;
        mprotect(stack->low - guard_bytes, guard_bytes, PROT_NONE);
    }
    return stack;
}

void give_stack(Stack *stack) { free_stacks[free_count++] = stack; }

void give_all_stacks() {
    if (!stacks_begin) return;
    for (int i = 0; i < stack_count; i++) free_stacks[i] = &stacks[stack_count - 1 - i];
    free_count = stack_count;
}

bool is_below_a_stack(const void *address) {
    size_t offset = (size_t)((const char *)address - stacks_begin);
    return stacks_begin && address >= stacks_begin && offset < stack_count * stack_bytes &&
           offset % stack_bytes < guard_bytes;
}

// MARK: Changes

#ifndef CUDA_ON_CPU_UCONTEXT

void prepare(Context &context, const Stack &stack, void (*entry)()) {
    void **top = (void **)((uintptr_t)stack.high & ~(uintptr_t)63);
    *--top = nullptr;  // where the address to return to would be: the stack is aligned as after a call
    *--top = (void *)entry;
    context.stack_pointer = top;
}

void leave_for(Context &to) {
    Context nowhere;
    change(nowhere, to);
    abort();
}

void leave_signal_for(void *signal_state, Context &to) {
    greg_t *registers = ((ucontext_t *)signal_state)->uc_mcontext.gregs;
    void **top = (void **)to.stack_pointer;
    registers[REG_RSP] = (greg_t)(top + 1);
    registers[REG_RIP] = (greg_t)*top;
}

#else

void change(Context &from, Context &to) { swapcontext(&from.state, &to.state); }

void prepare(Context &context, const Stack &stack, void (*entry)()) {
    getcontext(&context.state);
    context.state.uc_stack.ss_sp = stack.low;
    context.state.uc_stack.ss_size = (size_t)(((uintptr_t)stack.high & ~(uintptr_t)63) - (uintptr_t)stack.low);
    context.state.uc_link = nullptr;
    makecontext(&context.state, entry, 0);
}

void leave_for(Context &to) {
    setcontext(&to.state);
    abort();
}
void leave_signal_for(void *, Context &to) { setcontext(&to.state); }

#endif

const unsigned char *interrupted_at(void *signal_state) {
    ucontext_t *state = (ucontext_t *)signal_state;
#if defined(__x86_64__)
    return (const unsigned char *)state->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const unsigned char *)state->uc_mcontext.pc;
#else
    (void)state;
    return nullptr;
#endif
}
