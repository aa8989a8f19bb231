#include "CTTIKernels.h"
#include "linear_tables.h"

const ctti_linear_kernels *ctti_linear_kernels_for(ctti_isa isa) {
    (void)isa;
    return &ctti_linear_portable;
}
