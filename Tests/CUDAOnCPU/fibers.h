// Fibers: stacks, and changing from one to another. On x86-64 a change is a few instructions, and the compiler knows which
// registers are worth keeping; elsewhere the C library does it, with two system calls.
#pragma once

#include <stddef.h>

#if !defined(__x86_64__) && !defined(CUDA_ON_CPU_UCONTEXT)
#define CUDA_ON_CPU_UCONTEXT
#endif

#ifdef CUDA_ON_CPU_UCONTEXT
#include <ucontext.h>
struct Context {
    ucontext_t state;
};
#else
struct Context {
    void *stack_pointer;
};
#endif

struct Stack {
    char *low, *high;  // the page below `low` faults
    bool used;
};

// A stack of the pool; the one given back last comes first, it is warm.
Stack *take_stack();
void give_stack(Stack *stack);
// All are free again, whatever was on them.
void give_all_stacks();
// Whether the address is in a page that faults when a stack is too small.
bool is_below_a_stack(const void *address);

// After this, changing to `context` calls `entry`, which never returns.
void prepare(Context &context, const Stack &stack, void (*entry)());
#ifdef CUDA_ON_CPU_UCONTEXT
void change(Context &from, Context &to);
#else
// On top of a stack that was left lies where to go on. It is a jump and no return: the processor predicts that returns go
// back to where the last call came from, and here they do not.
inline __attribute__((always_inline)) void change(Context &from, Context &to) {
    void *keep = &from.stack_pointer, *go = to.stack_pointer;
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\t"  // what a function may use below its stack pointer
        "pushq %%rbp\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "movq %%rsp, (%[keep])\n\t"
        "movq %[go], %%rsp\n\t"
        "popq %%rax\n\t"
        "jmpq *%%rax\n\t"
        "1:\n\t"
        "popq %%rbp\n\t"
        "leaq 128(%%rsp), %%rsp"
        : [keep] "+D"(keep), [go] "+S"(go)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory", "xmm0", "xmm1",
          "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
          "xmm15");
}
#endif
[[noreturn]] void leave_for(Context &to);
// In a signal handler: when it returns, `to` goes on instead of what was interrupted.
void leave_signal_for(void *signal_state, Context &to);
// The instruction that was interrupted.
const unsigned char *interrupted_at(void *signal_state);
