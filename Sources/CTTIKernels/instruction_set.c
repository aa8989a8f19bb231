#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "CTTIKernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

// Linux saves no tiles for a process that has not asked for them (Documentation/arch/x86/xstate.rst).
static bool may_use_tiles(void) {
    enum { request_permission = 0x1023, tile_data = 18 };
    static atomic_int answer;  // 0: not asked yet
    if (atomic_load(&answer) == 0) {
        atomic_store(&answer, syscall(SYS_arch_prctl, request_permission, tile_data) == 0 ? 1 : -1);
    }
    return atomic_load(&answer) > 0;
}
#else
static bool may_use_tiles(void) { return false; }
#endif

bool ctti_has_isa(ctti_isa isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    switch (isa) {
    case CTTI_PORTABLE: return true;
    case CTTI_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case CTTI_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case CTTI_AVX512BF16: return ctti_has_isa(CTTI_AVX512) && __builtin_cpu_supports("avx512bf16");
    case CTTI_AMX:
        return ctti_has_isa(CTTI_AVX512BF16) && __builtin_cpu_supports("avx512vnni") &&
               __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
               __builtin_cpu_supports("amx-int8") && may_use_tiles();
    default: return false;
    }
#else
    (void)may_use_tiles;
    return isa == CTTI_PORTABLE;
#endif
}

// On Zen 4, Zen 5 and Cooper Lake a core begins as many VDPBF16PS as float32 multiply-adds, and each does two of these a lane.
// Sapphire Rapids begins a quarter as many (76 against 149 GFLOP/s on one core): where the system keeps its tiles from us,
// plain AVX-512 is the best.
static bool has_fast_pairs(void) {
#if defined(__x86_64__)
    return __builtin_cpu_is("amd") || __builtin_cpu_is("cooperlake");
#else
    return false;
#endif
}

ctti_isa ctti_best_isa(void) {
    if (ctti_has_isa(CTTI_AMX)) return CTTI_AMX;
    if (ctti_has_isa(CTTI_AVX512BF16) && has_fast_pairs()) return CTTI_AVX512BF16;
    if (ctti_has_isa(CTTI_AVX512)) return CTTI_AVX512;
    if (ctti_has_isa(CTTI_AVX2)) return CTTI_AVX2;
    return CTTI_PORTABLE;
}

const char *ctti_isa_name(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return "avx2";
    case CTTI_AVX512: return "avx512";
    case CTTI_AVX512BF16: return "avx512bf16";
    case CTTI_AMX: return "amx";
    default: return "portable";
    }
}
