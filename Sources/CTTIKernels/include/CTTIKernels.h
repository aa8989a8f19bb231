// The CPU's kernels, in C: one file a kernel family and instruction set (`linear_portable.c`, `linear_avx512.c`).
//
// Each family has a header whose functions take the instruction set, or give the table of functions for one. Buffers are
// plain pointers; no intrinsics and no macros cross this border.
#pragma once

#include "attention.h"
#include "ceilings.h"
#include "choice.h"
#include "conversion.h"
#include "convolution.h"
#include "decode_attention.h"
#include "elementwise.h"
#include "instruction_set.h"
#include "linear.h"
#include "linear_int8.h"
#include "norm.h"
#include "softmax.h"
#include "thread_pool.h"
#include "winograd.h"
