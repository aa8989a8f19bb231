#include "CTTIKernels.h"
#define KEYS_AT_ONCE 2
#define VECTORS_AT_ONCE 1
#define ASKS(is_bf16) true
#define LOCALITY 3
#include "decode_attention_body.h"

const ctti_decode_attention_kernels ctti_decode_attention_portable = {decode_chunk, decode_merge, decode_store};

#if !defined(__x86_64__)
const ctti_decode_attention_kernels ctti_decode_attention_avx2 = {0}, ctti_decode_attention_avx512 = {0};
#endif

const ctti_decode_attention_kernels *ctti_decode_attention(ctti_isa isa) {
    switch (isa) {
    case CTTI_AVX2: return &ctti_decode_attention_avx2;
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: return &ctti_decode_attention_avx512;
    default: return &ctti_decode_attention_portable;
    }
}
