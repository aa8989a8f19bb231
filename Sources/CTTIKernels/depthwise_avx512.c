#if defined(__x86_64__)

#include "depthwise_rows.h"
#include "depthwise_tables.h"

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))) void ctti_depthwise_avx512(
    const ctti_depthwise *call, size_t first_row, size_t end_row) {
    ctti_depthwise_rows(call, first_row, end_row);
}

#endif
