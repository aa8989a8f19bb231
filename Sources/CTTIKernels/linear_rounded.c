// Products of rounded rows: which kernel, and what stands for them where there is none.
#include "linear_tiles.h"

#if defined(__x86_64__)

void ctti_multiply_rounded(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first,
    size_t end) {
    (isa == CTTI_AMX ? ctti_multiply_tiles : ctti_multiply_pairs)(product, x, first_unit, end_unit, first, end);
}

void ctti_multiply_rounded_gated(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target,
    size_t target_stride, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    (isa == CTTI_AMX ? ctti_multiply_tiles_gated : ctti_multiply_pairs_gated)(
        product, x, gate_first, target, target_stride, first_unit, end_unit, first, end);
}

#else

void ctti_multiply_rounded(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first,
    size_t end) {
    (void)isa, (void)product, (void)x, (void)first_unit, (void)end_unit, (void)first, (void)end;
}

void ctti_multiply_rounded_gated(
    ctti_isa isa, const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target,
    size_t target_stride, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    (void)isa, (void)product, (void)x, (void)gate_first, (void)target, (void)target_stride, (void)first_unit;
    (void)end_unit, (void)first, (void)end;
}

void ctti_round_rows(
    uint16_t *target, size_t target_stride, const float *source, size_t source_stride, size_t rows, size_t count,
    size_t padded) {
    (void)target, (void)target_stride, (void)source, (void)source_stride, (void)rows, (void)count, (void)padded;
}

#endif
