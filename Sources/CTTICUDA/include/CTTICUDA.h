// CUDA without CUDA: entry points found at run time, and the sources of the kernels.
#pragma once
#include "Parameters.h"
#include "driver.h"
#include "matrix_library.h"
#include "sources.h"

