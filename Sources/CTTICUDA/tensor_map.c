// Maps of tensors, which the driver encodes for Hopper's copy engine.
#include "Parameters.h"
#include "driver.h"

#include <string.h>

enum { UINT8 = 0, BFLOAT16 = 9, NO_INTERLEAVE = 0, PROMOTE_TO_256_BYTES = 3, FILL_WITH_ZEROS = 0 };
enum { EXCHANGE_IN_64_BYTES = 2, EXCHANGE_IN_128_BYTES = 3 };

ctti_status ctti_map_image(const ctti_cuda_driver *driver, struct tti_tensor_map *map, const ctti_image *image) {
    if (!driver->encode_tensor_map) return 1;
    _Alignas(64) uint64_t words[16];
    const uint64_t sizes[] = {image->channels, image->width, image->height, image->images};
    // Of a box with steps the driver wants to know the pixels that it spans.
    const uint32_t step = image->step;
    const uint32_t box[] = {image->box_channels, image->box_width * step, image->box_height * step, image->box_images};
    const uint32_t steps[] = {1, step, step, 1};
    ctti_status status = driver->encode_tensor_map(
        words, image->element_bytes == 1 ? UINT8 : BFLOAT16, 4, (void *)image->address, sizes, image->strides, box, steps, NO_INTERLEAVE,
        image->box_channels * image->element_bytes == 64 ? EXCHANGE_IN_64_BYTES : EXCHANGE_IN_128_BYTES, PROMOTE_TO_256_BYTES, FILL_WITH_ZEROS);
    memcpy(map, words, sizeof words);
    return status;
}
