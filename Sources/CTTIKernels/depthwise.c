#include "depthwise_tables.h"

#include "depthwise_rows.h"

void ctti_convolve_depthwise(ctti_isa isa, const ctti_depthwise *call, size_t first_row, size_t end_row) {
    switch (isa) {
#if defined(__x86_64__)
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: ctti_depthwise_avx512(call, first_row, end_row); break;
    case CTTI_AVX2: ctti_depthwise_avx2(call, first_row, end_row); break;
#endif
    default: ctti_depthwise_rows(call, first_row, end_row);
    }
}
