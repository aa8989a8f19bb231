// Our declarations of the part of cuBLASLt that is used; names and values are those of cublasLt.h, the same from 11 to 13.
#include "matrix_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

typedef struct {
    uint64_t words[8];
} lt_way;

typedef struct {
    lt_way way;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} lt_recommendation;

#define LT_ENTRIES(ENTRY) \
    ENTRY(create, "cublasLtCreate", (ctti_handle *library)) \
    ENTRY(destroy, "cublasLtDestroy", (ctti_handle library)) \
    ENTRY(create_operation, "cublasLtMatmulDescCreate", (ctti_handle *operation, int compute, int scale)) \
    ENTRY(set_operation, "cublasLtMatmulDescSetAttribute", \
          (ctti_handle operation, int attribute, const void *value, size_t bytes)) \
    ENTRY(destroy_operation, "cublasLtMatmulDescDestroy", (ctti_handle operation)) \
    ENTRY(create_layout, "cublasLtMatrixLayoutCreate", \
          (ctti_handle *layout, int type, uint64_t rows, uint64_t columns, int64_t stride)) \
    ENTRY(set_layout, "cublasLtMatrixLayoutSetAttribute", \
          (ctti_handle layout, int attribute, const void *value, size_t bytes)) \
    ENTRY(destroy_layout, "cublasLtMatrixLayoutDestroy", (ctti_handle layout)) \
    ENTRY(create_preference, "cublasLtMatmulPreferenceCreate", (ctti_handle *preference)) \
    ENTRY(set_preference, "cublasLtMatmulPreferenceSetAttribute", \
          (ctti_handle preference, int attribute, const void *value, size_t bytes)) \
    ENTRY(destroy_preference, "cublasLtMatmulPreferenceDestroy", (ctti_handle preference)) \
    ENTRY(recommend, "cublasLtMatmulAlgoGetHeuristic", \
          (ctti_handle library, ctti_handle operation, ctti_handle a, ctti_handle b, ctti_handle c, ctti_handle d, \
           ctti_handle preference, int wanted, lt_recommendation *found, int *count)) \
    ENTRY(multiply, "cublasLtMatmul", \
          (ctti_handle library, ctti_handle operation, const void *alpha, const void *a, ctti_handle a_layout, \
           const void *b, ctti_handle b_layout, const void *beta, const void *c, ctti_handle c_layout, void *d, \
           ctti_handle d_layout, const lt_way *way, void *workspace, size_t workspace_bytes, ctti_handle stream))

#define LT_MEMBER(name, symbol, parameters) ctti_status(*name) parameters;
#define LT_SYMBOL(name, symbol, parameters) symbol,

static struct {
    LT_ENTRIES(LT_MEMBER)
} lt;
static size_t (*lt_version)(void);
static ctti_search lt_search;

static void look_for_library(void) {
    static const char *const names[] = {
        "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so", NULL,
    };
    static const char *const pip_folders[] = {"nvidia/cu13/lib", "nvidia/cublas/lib", NULL};
    static const char *const symbols[] = {LT_ENTRIES(LT_SYMBOL)};
    void *library = ctti_open_library(names, pip_folders, &lt_search);
    if (!library) return;
    void **table = (void **)&lt;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        table[i] = dlsym(library, symbols[i]);
        if (!table[i]) lt_search.found = false;
    }
    lt_version = (size_t(*)(void))dlsym(library, "cublasLtGetVersion");
}

static bool is_there(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_for_library);
    return lt_search.found;
}

ctti_handle ctti_open_matrix_library(ctti_search *search) {
    bool found = is_there();
    if (search) *search = lt_search;
    ctti_handle library = NULL;
    return found && lt.create(&library) == 0 ? library : NULL;
}

void ctti_close_matrix_library(ctti_handle library) {
    if (library) lt.destroy(library);
}

size_t ctti_matrix_library_version(void) { return is_there() && lt_version ? lt_version() : 0; }

enum { REAL_32F = 0, REAL_16BF = 14, COMPUTE_32F = 68, TRANSPOSED = 1 };
enum { OPERATION_TRANSPOSE_A = 3, LAYOUT_BATCH = 5, LAYOUT_BATCH_STRIDE = 6 };
enum { PREFERENCE_WORKSPACE = 1, PREFERENCE_REDUCTIONS = 3 };
// Split sums are added from a workspace, never by atomic operations, whose order changes.
enum { REDUCTION_IN_FLOAT = 2, REDUCTION_IN_OUTPUT = 4 };

// A product as the library sees it: column-major, so weightᵀ · x has outputs as rows.
typedef struct {
    ctti_handle operation, weight, x, y;
} lt_problem;

static ctti_handle layout(
    int type, int64_t rows, int64_t columns, int64_t stride, int64_t batch, int64_t batch_stride
) {
    ctti_handle layout = NULL;
    int32_t count = (int32_t)batch;
    if (lt.create_layout(&layout, type, (uint64_t)rows, (uint64_t)columns, stride) != 0) return NULL;
    lt.set_layout(layout, LAYOUT_BATCH, &count, sizeof count);
    lt.set_layout(layout, LAYOUT_BATCH_STRIDE, &batch_stride, sizeof batch_stride);
    return layout;
}

static bool describe(lt_problem *problem, ctti_product_shape s) {
    memset(problem, 0, sizeof *problem);
    int32_t transposed = TRANSPOSED;
    if (lt.create_operation(&problem->operation, COMPUTE_32F, REAL_32F) != 0) return false;
    lt.set_operation(problem->operation, OPERATION_TRANSPOSE_A, &transposed, sizeof transposed);
    problem->weight = layout(REAL_16BF, s.inputs, s.outputs, s.weight_stride, s.batch, 0);
    problem->x = layout(REAL_16BF, s.inputs, s.rows, s.inputs, s.batch, s.repeats_x ? 0 : s.rows * s.inputs);
    int type = s.float_result ? REAL_32F : REAL_16BF;
    problem->y = layout(type, s.outputs, s.rows, s.outputs, s.batch, s.rows * s.outputs);
    return problem->weight && problem->x && problem->y;
}

static void forget(lt_problem *problem) {
    if (problem->operation) lt.destroy_operation(problem->operation);
    if (problem->weight) lt.destroy_layout(problem->weight);
    if (problem->x) lt.destroy_layout(problem->x);
    if (problem->y) lt.destroy_layout(problem->y);
}

int ctti_product_ways(
    ctti_handle library, ctti_product_shape shape, size_t workspace_bytes, ctti_product_way *ways, int capacity
) {
    lt_problem problem;
    lt_recommendation found[32];
    ctti_handle preference = NULL;
    int count = 0;
    uint32_t reductions = REDUCTION_IN_FLOAT | REDUCTION_IN_OUTPUT;
    if (describe(&problem, shape) && lt.create_preference(&preference) == 0) {
        lt.set_preference(preference, PREFERENCE_WORKSPACE, &workspace_bytes, sizeof workspace_bytes);
        lt.set_preference(preference, PREFERENCE_REDUCTIONS, &reductions, sizeof reductions);
        ctti_status status = lt.recommend(
            library, problem.operation, problem.weight, problem.x, problem.y, problem.y, preference,
            capacity < 32 ? capacity : 32, found, &count);
        if (status != 0) count = 0;
        lt.destroy_preference(preference);
    }
    forget(&problem);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (found[i].state != 0) continue;
        memcpy(ways[kept].words, &found[i].way, sizeof found[i].way);
        ways[kept++].workspace_bytes = found[i].workspace_bytes;
    }
    return kept;
}

ctti_status ctti_multiply_by_library(
    ctti_handle library, ctti_product_shape shape, const ctti_product_way *way, ctti_product_addresses at,
    size_t workspace_bytes, ctti_handle stream
) {
    lt_problem problem;
    ctti_status status = 1;
    if (describe(&problem, shape)) {
        float one = 1, beta = shape.adds ? 1 : 0;
        lt_way own;
        memcpy(&own, way->words, sizeof own);
        status = lt.multiply(
            library, problem.operation, &one, (const void *)at.weight, problem.weight, (const void *)at.x, problem.x,
            &beta, (const void *)(shape.adds ? at.residual : at.y), problem.y, (void *)at.y, problem.y, &own,
            (void *)at.workspace, workspace_bytes, stream);
    }
    forget(&problem);
    return status;
}
