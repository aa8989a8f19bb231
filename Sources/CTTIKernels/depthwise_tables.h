#pragma once

#include "CTTIKernels.h"

#if defined(__x86_64__)
void ctti_depthwise_avx512(const ctti_depthwise *call, size_t first_row, size_t end_row);
void ctti_depthwise_avx2(const ctti_depthwise *call, size_t first_row, size_t end_row);
#endif
