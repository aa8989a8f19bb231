// What a convolution leaves for the group norm of its result, so that the norm need not read the image for its means:
// hopper_products.cuh writes it, image_norm.cu joins it.
//
// A part is of a box of pixels of one image, and of those channels of a group that lie among the same 32. Tiles are whole
// multiples of 32 channels and boxes are chosen from one image, so that parts depend neither on the tile nor on the batch.
#pragma once
#include "device.cuh"

// The mean, and the sum of squares about it.
struct __align__(8) statistics {
    float mean, squares;
};

// Which of a box's parts is of a group and the slab-th 32 channels. From one part to the next one of both goes up, or both.
INLINE int part_of(int group, int slab) { return group + slab; }

// Pixels of a box that lie in the image.
INLINE int pixels_of_box(const tti_partial_statistics &p, int box) {
    int x = box % p.across * p.box_width, y = box / p.across % p.down * p.box_height;
    return min(p.box_width, p.width - x) * min(p.box_height, p.height - y);
}
