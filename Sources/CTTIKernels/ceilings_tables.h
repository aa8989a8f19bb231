#pragma once

#include "CTTIKernels.h"

#if defined(__x86_64__)
uint64_t ctti_read_all_avx512(const void *memory, size_t bytes, size_t streams);
uint64_t ctti_read_all_avx2(const void *memory, size_t bytes, size_t streams);
double ctti_multiply_adds_avx512(size_t rounds, float *result);
double ctti_multiply_adds_avx2(size_t rounds, float *result);
double ctti_multiply_adds_avx512bf16(size_t rounds);
double ctti_multiply_adds_amx(bool int8, size_t rounds);
#endif
