// Products of many rows, and convolutions as such products: y = a · weightᵀ, where a row of a is gathered from an image as
// it is needed and never written out (implicit GEMM).
//
// Bound by the multipliers: tensor cores for bfloat16 and int8, FMA units for float. A block makes one tile of y: grid
// (tiles, the columns' fastest; splits of the depth). The depth goes through shared memory in blocks of 128 bytes, in a ring
// of stages that are filled ahead of use; the first stages' weights are asked for before the inputs are there. Where the depth
// is split, `add_parts` adds the parts up. Which tile is taken, and into how many parts the depth is split, is Swift's choice
// (CUDABackend+Tiles.swift). An output's sum has an order that depends on the splits alone: not on the tile, nor on its other
// rows.
#include "tiles.cuh"

template <int count, class sum> INLINE void clear(sum *d) {
#pragma unroll
    for (int i = 0; i < count; i++) d[i] = 0;
}

// MARK: Products

// Tensor cores: `sum` float has bfloat16 operands, int32_t has 8-bit ones. A warp has a part of the tile, as parts of 16×8.
template <class shape, class sum, int down, int across> struct matrix_product {
    static const int parts_down = shape::rows / down / 16, parts_across = shape::columns / across / 8;
    static const int count = parts_down * parts_across * 4;
    static_assert(down * across * WARP == shape::threads && parts_across % 2 == 0, "warps that make up the tile");

    sum d[parts_down][parts_across][4];
    int row, column;

    INLINE_MEMBER matrix_product() {
        int warp = threadIdx.x / WARP;
        row = warp / across * parts_down * 16;
        column = warp % across * parts_across * 8;
        clear<count>(all());
    }

    INLINE_MEMBER sum *all() { return &d[0][0][0]; }

    struct fragments {
        uint32_t a[parts_down][4], b[parts_across / 2][4];
    };

    // 32 bytes of the depth.
    INLINE_MEMBER void fetch(fragments &f, const char *stage, int depth) const {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int i = 0; i < parts_down; i++) {
            load_matrices(f.a[i], stage + piece_at(row + i * 16 + lane % 16, 2 * depth + lane / 16));
        }
        stage += shape::rows * ROW_BYTES;
#pragma unroll
        for (int j = 0; j < parts_across / 2; j++) {
            load_matrices(
                f.b[j], stage + piece_at(column + j * 16 + lane % 8 + lane / 16 * 8, 2 * depth + lane / 8 % 2));
        }
    }

    INLINE_MEMBER void multiply(const char *stage) {
        // What the next product needs is on its way while this one is made.
        fragments f[2];
        fetch(f[0], stage, 0);
#pragma unroll
        for (int depth = 0; depth < ROW_PIECES / 2; depth++) {
            if (depth + 1 < ROW_PIECES / 2) fetch(f[(depth + 1) % 2], stage, depth + 1);
            const fragments &now = f[depth % 2];
#pragma unroll
            for (int i = 0; i < parts_down; i++) {
#pragma unroll
                for (int j = 0; j < parts_across; j++) multiply_tile(d[i][j], now.a[i], now.b[j / 2] + j % 2 * 2);
            }
        }
    }

    // Does body(row, column, sums of this column and the next).
    template <class Body> INLINE_MEMBER void for_each(const Body &body) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int i = 0; i < parts_down; i++) {
#pragma unroll
            for (int j = 0; j < parts_across; j++) {
                int r = row + i * 16 + lane / 4, c = column + j * 8 + lane % 4 * 2;
                body(r, c, d[i][j][0]);
                body(r, c + 1, d[i][j][1]);
                body(r + 8, c, d[i][j][2]);
                body(r + 8, c + 1, d[i][j][3]);
            }
        }
    }
};

// Multiply-adds of float, one after the other in the depth. A thread has every 16th row and column.
template <class shape> struct scalar_product {
    static const int down = shape::rows / 16, across = shape::columns / 16, count = down * across;
    static_assert(shape::threads == 256, "16×16 threads");

    float d[down][across];
    int row, column;

    INLINE_MEMBER scalar_product() {
        // A warp reads 4 rows and 8 columns at a time.
        int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
        row = warp / 2 * 4 + lane / 8;
        column = warp % 2 * 8 + lane % 8;
        clear<count>(all());
    }

    INLINE_MEMBER float *all() { return &d[0][0]; }

    INLINE_MEMBER void multiply(const char *stage) {
#pragma unroll 2
        for (int piece = 0; piece < ROW_PIECES; piece++) {
            floats<4> a[down];
#pragma unroll
            for (int i = 0; i < down; i++) a[i] = load<4>((const float *)(stage + piece_at(row + i * 16, piece)));
#pragma unroll
            for (int j = 0; j < across; j++) {
                floats<4> b =
                    load<4>((const float *)(stage + shape::rows * ROW_BYTES + piece_at(column + j * 16, piece)));
#pragma unroll
                for (int i = 0; i < down; i++) {
#pragma unroll
                    for (int k = 0; k < 4; k++) d[i][j] = fmaf(a[i][k], b[k], d[i][j]);
                }
            }
        }
    }

    template <class Body> INLINE_MEMBER void for_each(const Body &body) {
#pragma unroll
        for (int i = 0; i < down; i++) {
#pragma unroll
            for (int j = 0; j < across; j++) body(row + i * 16, column + j * 16, d[i][j]);
        }
    }
};

// MARK: Tiles

// A sum of products as the number it stands for.
INLINE float finished(const tti_tiles &p, int row, int column, float sum) { return sum; }
#ifdef TTI_BF16
// 8-bit integers are in units of their row's and their output's own.
INLINE float finished(const tti_tiles &p, int row, int column, int32_t sum) {
    if (row >= p.rows || column >= p.outputs) return 0;
    float scale = __fmul_rn(pointer<const float>(p.x_scales)[row], pointer<const float>(p.weight_scales)[column]);
    return __fmul_rn((float)sum, scale);
}
#endif

template <class shape, class product> INLINE void multiply_tiles(const tti_tiles &p, char *shared) {
    tile_row *places = (tile_row *)(shared + shape::data_bytes);
    int across = (p.outputs + shape::columns - 1) / shape::columns;
    int first_row = blockIdx.x / across * shape::rows, first_column = blockIdx.x % across * shape::columns;
    int blocks = (p.pieces + ROW_PIECES - 1) / ROW_PIECES;
    int first = blocks * (int)blockIdx.y / p.splits, count = blocks * (int)(blockIdx.y + 1) / p.splits - first;
    place_rows<shape>(p, places, first_row);
    __syncthreads();

    tile_loader<shape> loader(p, places, first_column, first);
    // The first stage's group of copies has all these weights.
#pragma unroll
    for (int i = 0; i < shape::stages - 1; i++) {
        if (i < count) loader.load_weights(shared + i * shape::stage_bytes, i);
    }
    wait_for_inputs();
#pragma unroll
    for (int i = 0; i < shape::stages - 1; i++) {
        if (i < count) loader.load_inputs(shared + i * shape::stage_bytes);
        copy_commit();
    }
    product tile;
    int used = 0, filled = shape::stages - 1;
    for (int block = 0; block < count; block++) {
        // The block's copies have landed, everybody's, and everybody has done with the stage before it, which is filled next.
        copy_wait<shape::stages - 2>();
        __syncthreads();
        if (block + shape::stages - 1 < count) {
            loader.load_weights(shared + filled * shape::stage_bytes);
            loader.load_inputs(shared + filled * shape::stage_bytes);
        }
        copy_commit();
        tile.multiply(shared + used * shape::stage_bytes);
        used = used + 1 == shape::stages ? 0 : used + 1;
        filled = filled + 1 == shape::stages ? 0 : filled + 1;
    }
    copy_wait<0>();
    // Sums go where the stages were.
    __syncthreads();
    float *sums = (float *)shared;
    if (p.splits > 1) {
        tile.for_each([&](int row, int column, auto sum) {
            *(decltype(sum) *)&sums[row * shape::sum_stride + column] = sum;
        });
        __syncthreads();
        return put_part<shape>(p, sums, first_row, first_column);
    }
    tile.for_each([&](int row, int column, auto sum) {
        sums[row * shape::sum_stride + column] = finished(p, first_row + row, first_column + column, sum);
    });
    __syncthreads();
    finish_tile<shape>(p, sums, first_row, first_column);
}

// MARK: Kernels

#ifdef TTI_BF16
#define TILE_THREADS 128
#define TILE_BLOCKS(blocks) blocks
#define TILE_PRODUCT(down, across) matrix_product<shape, float, down, across>
#else
#define TILE_THREADS 256
#define TILE_BLOCKS(blocks) 2
#define TILE_PRODUCT(down, across) scalar_product<shape>
#endif

// `blocks` blocks are to be on a multiprocessor.
#define TILES(name, rows, columns, stages, blocks, threads, ...)      \
    KERNEL_RESIDENT(name, tti_tiles, threads, blocks) {               \
        SHARED_MEMORY(shared);                                        \
        typedef tile_shape<rows, columns, threads, stages> shape;     \
        multiply_tiles<shape, __VA_ARGS__>(p, shared);                \
    }

TILES(tiles_128x128, 128, 128, 3, TILE_BLOCKS(2), TILE_THREADS, TILE_PRODUCT(2, 2))
TILES(tiles_128x64, 128, 64, 3, TILE_BLOCKS(2), TILE_THREADS, TILE_PRODUCT(2, 2))
TILES(tiles_64x64, 64, 64, 4, TILE_BLOCKS(3), TILE_THREADS, TILE_PRODUCT(2, 2))
TILES(tiles_32x64, 32, 64, 4, TILE_BLOCKS(3), TILE_THREADS, TILE_PRODUCT(2, 2))
TILES(tiles_128x16, 128, 16, 4, TILE_BLOCKS(3), TILE_THREADS, TILE_PRODUCT(4, 1))

#define PART_THREADS 128

// Adds up the parts of LANES outputs a thread, in their order.
template <class number> INLINE void add_all_parts(const tti_tiles &p) {
    struct __align__(16) four {
        number v[4];
    };
    int stride = part_stride(p), vectors = stride / LANES, i = blockIdx.x * PART_THREADS + threadIdx.x;
    int row = i / vectors, column = (i - row * vectors) * LANES;
    wait_for_inputs();
    if (row >= p.rows) return;
    const number *part = pointer<const number>(p.partial) + (int64_t)row * stride + column;
    int64_t step = (int64_t)p.rows * stride;
    number sums[LANES];
    for (int j = 0; j < LANES; j++) sums[j] = 0;
    // Eight parts are under way at once.
    for (int first = 0; first < p.splits; first += 8) {
        four v[8][LANES / 4];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            for (int j = 0; j < LANES / 4; j++) {
                if (first + i < p.splits) v[i][j] = *(const four *)(part + (first + i) * step + 4 * j);
            }
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (first + i >= p.splits) break;
            for (int j = 0; j < LANES; j++) sums[j] += v[i][j / 4].v[j % 4];
        }
    }
    int64_t place = (int64_t)row * p.outputs + column;
    floats<LANES> v;
    float bias[LANES];
    for (int j = 0; j < LANES; j++) {
        v[j] = finished(p, row, column + j, sums[j]);
        bias[j] = p.bias && column + j < p.outputs ? pointer<const float>(p.bias)[column + j] : 0.0f;
    }
    if ((p.y | p.residual) % 16 == 0 && p.outputs % LANES == 0) {
        if (column < p.outputs) finish_sums<LANES>(p, v, bias, place);
    } else {
        for (int j = 0; j < LANES && column + j < p.outputs; j++) {
            finish_sums<1>(p, floats<1>{{v[j]}}, bias + j, place + j);
        }
    }
}

KERNEL(tiles_add_parts, tti_tiles, PART_THREADS) { add_all_parts<float>(p); }

#ifdef TTI_BF16
TILES(tiles_int8_128x128, 128, 128, 3, 2, 128, matrix_product<shape, int32_t, 2, 2>)
TILES(tiles_int8_128x64, 128, 64, 3, 2, 128, matrix_product<shape, int32_t, 2, 2>)
TILES(tiles_int8_64x64, 64, 64, 4, 3, 128, matrix_product<shape, int32_t, 2, 2>)
TILES(tiles_int8_32x64, 32, 64, 4, 3, 128, matrix_product<shape, int32_t, 2, 2>)
TILES(tiles_int8_128x16, 128, 16, 4, 3, 128, matrix_product<shape, int32_t, 4, 1>)
KERNEL(tiles_int8_add_parts, tti_tiles, PART_THREADS) { add_all_parts<int32_t>(p); }
#endif

// Rows as tiles read them. A thread writes 16 bytes.
KERNEL(pad_rows, tti_pad_rows, 256) {
    wait_for_inputs();
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * LANES, row = i / p.y_width, column = i % p.y_width;
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + row * p.width;
    floats<LANES> v;
    for (int j = 0; j < LANES; j++) v[j] = column + j < p.width ? to_float(x[column + j]) : 0;
    store(pointer<element>(p.y) + i, v);
}
