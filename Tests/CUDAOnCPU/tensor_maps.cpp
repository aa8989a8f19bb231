// Maps of tensors for the copy engine, with what the driver demands of them.
#include "state.h"

#include <string.h>

#include "device_runtime.h"

static_assert(sizeof(tti_cpu_tensor_map) <= 128, "a map has 128 bytes");

EXPORT int cuTensorMapEncodeTiled(void *map, int type, uint32_t rank, void *address, const uint64_t *sizes,
                                  const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                                  int swizzle, int, int fill) {
    std::lock_guard<std::recursive_mutex> hold(lock);
    const int uint8 = 0, bfloat16 = 9, none = 0, bytes64 = 2, bytes128 = 3;
    if ((uintptr_t)map % 64) return complain(invalid_value, __func__, "the map is no multiple of 64");
    if ((type != uint8 && type != bfloat16) || interleave != none || (swizzle != bytes64 && swizzle != bytes128) || fill != none)
        return complain(not_supported, __func__, "type %d, interleave %d, swizzle %d, fill %d", type, interleave, swizzle, fill);
    if (rank < 1 || rank > 5) return complain(invalid_value, __func__, "%u dimensions", rank);
    if ((uintptr_t)address % 16) return complain(invalid_value, __func__, "the address is no multiple of 16");
    tti_cpu_tensor_map own = {};
    own.mark = tti_cpu_map_mark;
    own.address = (uintptr_t)address;
    own.rank = (unsigned char)rank;
    own.element_bytes = type == uint8 ? 1 : 2;
    own.row_bytes = swizzle == bytes64 ? 64 : 128;
    for (uint32_t i = 0; i < rank; i++) {
        if (sizes[i] == 0 || sizes[i] > 1ull << 32) return complain(invalid_value, __func__, "size %u is not one", i);
        if (box[i] == 0 || box[i] > 256) return complain(invalid_value, __func__, "a box of %u in dimension %u", box[i], i);
        if (steps[i] == 0 || steps[i] > 8) return complain(invalid_value, __func__, "a step of %u", steps[i]);
        if (i > 0 && (strides[i - 1] % 16 || strides[i - 1] >= 1ull << 40))
            return complain(invalid_value, __func__, "a stride of %llu bytes", (unsigned long long)strides[i - 1]);
        own.sizes[i] = (unsigned)sizes[i];
        own.box[i] = (unsigned short)((box[i] + steps[i] - 1) / steps[i]);
        own.steps[i] = (unsigned char)steps[i];
        if (i > 0) own.strides[i - 1] = strides[i - 1];
    }
    const uint32_t box_bytes = box[0] * own.element_bytes;
    if (box_bytes != own.row_bytes)
        return complain(invalid_value, __func__, "rows of %u bytes, and %d are exchanged", box_bytes, own.row_bytes);
    memset(map, 0, 128);
    memcpy(map, &own, sizeof own);
    return success;
}
