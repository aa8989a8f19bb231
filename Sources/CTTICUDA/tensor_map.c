// Maps of tensors, which the driver encodes for Hopper's copy engine.
#include "Parameters.h"
#include "driver.h"

#include <string.h>

enum { BFLOAT16 = 9, NO_INTERLEAVE = 0, EXCHANGE_IN_128_BYTES = 3, PROMOTE_TO_256_BYTES = 3, FILL_WITH_ZEROS = 0 };

ctti_status ctti_map_matrix(
    const ctti_cuda_driver *driver, struct tti_tensor_map *map, ctti_address address, uint64_t rows, uint64_t columns,
    uint64_t row_bytes, uint32_t box_rows
) {
    if (!driver->encode_tensor_map) return 1;
    _Alignas(64) uint64_t words[16];
    const uint64_t sizes[] = {columns, rows};
    const uint32_t box[] = {64, box_rows}, steps[] = {1, 1};
    ctti_status status = driver->encode_tensor_map(
        words, BFLOAT16, 2, (void *)address, sizes, &row_bytes, box, steps, NO_INTERLEAVE, EXCHANGE_IN_128_BYTES,
        PROMOTE_TO_256_BYTES, FILL_WITH_ZEROS);
    memcpy(map, words, sizeof words);
    return status;
}
