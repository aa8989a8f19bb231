#include "CTTIKernels.h"
#define ROWS 2
#define VECTORS 1
#include "attention_body.h"

const ctti_attention_kernels ctti_attention_portable = {pack_keys, pack_values, attention_queries};

#if !defined(__x86_64__)
const ctti_attention_kernels ctti_attention_avx2 = {0}, ctti_attention_avx512 = {0};
#endif

const ctti_attention_kernels *ctti_attention(ctti_isa isa, bool rounded) {
    if (rounded) return &ctti_attention_amx;
    switch (isa) {
    case CTTI_AVX2: return &ctti_attention_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_attention_avx512;
    default: return &ctti_attention_portable;
    }
}
