// cuBLASLt, found at run time: products of many rows in bfloat16.
#pragma once
#include "driver.h"

// y = x · weightᵀ + residual for each of `batch` entries of x [rows, inputs], all rows next to each other; weight [outputs,
// weight_stride]. Entries are products of their own, so that none depends on how many there are.
typedef struct ctti_product_shape {
    int64_t rows, inputs, weight_stride, outputs, batch;
    bool adds;
    // Every entry is the first one of x.
    bool repeats_x;
    // y in float32, not bfloat16.
    bool float_result;
} ctti_product_shape;

// One of the library's ways to do a product; the words are its own.
typedef struct ctti_product_way {
    uint64_t words[8];
    size_t workspace_bytes;
} ctti_product_way;

typedef struct ctti_product_addresses {
    ctti_address y, x, weight, residual, workspace;
} ctti_product_addresses;

// The library's handle on the current context, or NULL; `search` says where it was found or what is missing.
ctti_handle ctti_open_matrix_library(ctti_search *search);
void ctti_close_matrix_library(ctti_handle library);
// The library's version, such as 130100; 0 when it is not there.
size_t ctti_matrix_library_version(void);

// The ways that the library recommends, best first; how many there are.
int ctti_product_ways(
    ctti_handle library, ctti_product_shape shape, size_t workspace_bytes, ctti_product_way *ways, int capacity);
// Issues a product.
ctti_status ctti_multiply_by_library(
    ctti_handle library, ctti_product_shape shape, const ctti_product_way *way, ctti_product_addresses at,
    size_t workspace_bytes, ctti_handle stream);
