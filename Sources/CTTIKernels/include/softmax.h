// Softmax over rows that lie in memory: the middle of eager attention.
#pragma once

#include <stddef.h>

#include "instruction_set.h"

// row = softmax(row · scale + key_bias + score_bias) over its first `seen` elements, and 0 in the rest; all zeros when
// every element is masked by -infinity. The biases may be null.
void ctti_softmax(
    ctti_isa isa, float *row, size_t seen, size_t count, float scale, const float *key_bias, const float *score_bias);
