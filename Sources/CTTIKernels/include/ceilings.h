// What this machine can do at best: benchmarks say how much of it a kernel reaches.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_set.h"

// Reads `bytes` (a multiple of 1024, aligned to 64) in one stream or in four beside each other, each of a part of the memory;
// gives a sum, so that nothing is left out. Which is faster depends on the processor.
uint64_t ctti_read_all(ctti_isa isa, const void *memory, size_t bytes, size_t streams);

// Does `rounds` rounds of multiply-adds in registers; gives how many floating-point operations these were. `result` takes
// their sum.
double ctti_multiply_adds(ctti_isa isa, size_t rounds, float *result);

// The same of bfloat16 by VDPBF16PS or on AMX's tiles, and of int8 on tiles; 0 where the instruction set has neither.
double ctti_tile_multiply_adds(ctti_isa isa, bool int8, size_t rounds);
