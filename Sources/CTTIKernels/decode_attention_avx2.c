#if defined(__x86_64__)
#include "CTTIKernels.h"
// Two keys at a time are nearly read in the order in which they lie, which is what the processor guesses best. One core of
// Zen 4, 1000 keys of 16 heads from memory, GB/s of 29: bfloat16 24 (asked for into the first cache 17, not asked for 21;
// four keys at a time 20), float32 18 (asked for 15).
#define KEYS_AT_ONCE 2
#define VECTORS_AT_ONCE 2
#define ASKS(is_bf16) (is_bf16)
#define LOCALITY 2
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "decode_attention_body.h"
#pragma clang attribute pop

const ctti_decode_attention_kernels ctti_decode_attention_avx2 = {decode_chunk, decode_merge, decode_store};
#endif
