// The parts of tiles.cu: how a tile's operands come to shared memory, and how its sums become outputs.
//
// A stage of shared memory holds a block of the depth: 128 bytes of each of the tile's rows of a, then of each of its
// columns' weights. The eight 16-byte pieces of a row stand in an order of its own (piece XOR row mod 8), so that eight
// rows' pieces of one depth lie in different banks.
#pragma once
#include "device.cuh"

#define ROW_BYTES 128
#define ROW_PIECES 8

// Where a row of the tile is in the image: its image's first pixel, and the pixel that its first tap sees (y · 65536 + x).
struct __align__(8) tile_row {
    int32_t image, corner;
};

// A tile of `rows` outputs' rows and `columns`; `down` · `across` warps share it.
template <int rows_, int columns_, int threads_, int stages_> struct tile_shape {
    static const int rows = rows_, columns = columns_, threads = threads_, stages = stages_;
    static const int stage_bytes = (rows + columns) * ROW_BYTES;
    // Sums on their way to the outputs: rows lie eight numbers further than they must, in different banks.
    static const int sum_stride = columns + 8;
    static const int sum_bytes = rows * sum_stride * 4;
    static const int data_bytes = stages * stage_bytes > sum_bytes ? stages * stage_bytes : sum_bytes;
};

// The place of a piece in a stage.
INLINE int piece_at(int row, int piece) { return row * ROW_BYTES + ((piece ^ (row & 7)) << 4); }

// MARK: Loading

// What one thread copies of every block of the depth: one piece of several rows. Pieces of the depth are numbered through:
// taps, and in each the pieces of a pixel's channels.
template <class shape> struct tile_loader {
    static const int step = shape::threads / ROW_PIECES;
    static const int row_count = shape::rows / step;
    static const int column_count = (shape::columns + step - 1) / step;

    const tti_tiles &p;
    const tile_row *places;
    // This thread's place in a stage.
    int row, piece, target;
    // Its next piece of all, and where that is.
    int next, channel, tap_x, tap_y;
    // The pixel of each of its rows; -1 outside the image.
    int pixels[row_count];
    // The weights of its first column, and how many of its columns are there.
    const char *weights;
    int column_limit;

    INLINE_MEMBER tile_loader(const tti_tiles &p, const tile_row *places, int first_column, int first_block)
        : p(p), places(places) {
        row = threadIdx.x / ROW_PIECES;
        piece = threadIdx.x % ROW_PIECES;
        target = piece_at(row, piece);
        next = first_block * ROW_PIECES + piece;
        int tap = next / p.channel_pieces;
        channel = next % p.channel_pieces;
        tap_y = tap / p.kernel_width;
        tap_x = tap % p.kernel_width;
        weights = pointer<const char>(p.weight) + (first_column + row) * p.weight_stride;
        column_limit = p.outputs - first_column - row;
        locate();
    }

    // Finds the pixels that the rows see at this tap.
    INLINE_MEMBER void locate() {
#pragma unroll
        for (int i = 0; i < row_count; i++) {
            tile_row place = places[row + i * step];
            int y = (place.corner >> 16) + tap_y, x = (short)place.corner + tap_x;
            bool inside = (unsigned)y < (unsigned)(p.height << p.shift) && (unsigned)x < (unsigned)(p.width << p.shift);
            int pixel = place.image + (y >> p.shift) * p.width + (x >> p.shift);
            pixels[i] = inside ? pixel : -1;
        }
    }

    // Begins to copy the weights of the next block of the depth, or of one after it.
    INLINE_MEMBER void load_weights(char *stage, int ahead = 0) const {
        stage += shape::rows * ROW_BYTES + target;
        int own = next + ahead * ROW_PIECES;
        bool is_there = own < p.pieces;
        const char *source = weights + (int64_t)own * 16;
#pragma unroll
        for (int i = 0; i < column_count; i++) {
            if (shape::columns % step != 0 && row + i * step >= shape::columns) break;
            bool inside = i * step < column_limit && is_there;
            const char *address = source + i * step * p.weight_stride;
            copy_async(stage + i * step * ROW_BYTES, inside ? address : pointer<const char>(p.weight), inside);
        }
    }

    // Begins to copy the inputs of the next block of the depth, and goes on to the one after it.
    INLINE_MEMBER void load_inputs(char *stage) {
        // Of x, or of what is joined to it.
        bool is_there = next < p.pieces, is_own = channel < p.own_pieces;
        const bytes16 *image = pointer<const bytes16>(is_own ? p.x : p.joined);
        int pixel_pieces = is_own ? p.own_pieces : p.channel_pieces - p.own_pieces;
        int piece = is_own ? channel : channel - p.own_pieces;
#pragma unroll
        for (int i = 0; i < row_count; i++) {
            bool inside = pixels[i] >= 0 && is_there;
            const bytes16 *address = image + (inside ? pixels[i] * pixel_pieces + piece : 0);
            copy_async(stage + target + i * step * ROW_BYTES, address, inside);
        }
        next += ROW_PIECES;
        channel += ROW_PIECES;
        if (channel >= p.channel_pieces) {
            do {
                channel -= p.channel_pieces;
                if (++tap_x == p.kernel_width) {
                    tap_x = 0;
                    tap_y++;
                }
            } while (channel >= p.channel_pieces);
            locate();
        }
    }
};

// Fills in where the tile's rows are; rows past the end see nothing.
template <class shape> INLINE void place_rows(const tti_tiles &p, tile_row *places, int first_row) {
    int pixels = p.output_height * p.output_width;
    for (int i = threadIdx.x; i < shape::rows; i += shape::threads) {
        int row = first_row + i;
        tile_row place = {0, -32768 * 65536};
        if (row < p.rows) {
            int at = row % pixels, y = at / p.output_width * p.stride - p.top;
            int x = at % p.output_width * p.stride - p.left;
            place.image = row / pixels * p.height * p.width;
            place.corner = (int)((unsigned)y << 16 | ((unsigned)x & 0xffff));
        }
        places[i] = place;
    }
}

// MARK: The end

// `count` neighbouring sums become outputs.
template <int count>
INLINE void finish_sums(const tti_tiles &p, floats<count> v, const float *bias, int64_t place) {
    for (int j = 0; j < count; j++) v[j] += bias[j];
    activate(v, p.activation);
    if (p.residual) {
        floats<count> other = load<count>(pointer<const element>(p.residual) + place);
        for (int j = 0; j < count; j++) v[j] += other[j];
    }
    store(pointer<element>(p.y) + place, v);
}

// Parts of sums lie in rows of whole vectors.
INLINE int part_stride(const tti_tiles &p) { return (p.outputs + 7) / 8 * 8; }

// The tile's sums of a part of the depth, in shared memory, go where add_parts finds them.
template <class shape> INLINE void put_part(const tti_tiles &p, const float *sums, int first_row, int first_column) {
    int stride = part_stride(p), rows = min(shape::rows, p.rows - first_row);
    const int across = shape::columns / 4;
    int column = threadIdx.x % across * 4;
    if (first_column + column >= stride) return;
    float *target = pointer<float>(p.partial) + ((int64_t)blockIdx.y * p.rows + first_row) * stride + first_column + column;
    for (int row = threadIdx.x / across; row < rows; row += shape::threads / across) {
        *(bytes16 *)(target + (int64_t)row * stride) = *(const bytes16 *)(sums + row * shape::sum_stride + column);
    }
}

// The tile's sums in shared memory become outputs; a thread has columns of its own.
template <class shape> INLINE void finish_tile(const tti_tiles &p, const float *sums, int first_row, int first_column) {
    const float *bias = pointer<const float>(p.bias);
    int rows = min(shape::rows, p.rows - first_row), columns = min(shape::columns, p.outputs - first_column);
    if ((p.y | p.residual) % 16 == 0 && p.outputs % LANES == 0) {
        const int across = shape::columns / LANES;
        int column = threadIdx.x % across * LANES;
        if (column >= columns) return;
        float added[LANES];
        for (int j = 0; j < LANES; j++) added[j] = bias ? bias[first_column + column + j] : 0;
        for (int row = threadIdx.x / across; row < rows; row += shape::threads / across) {
            floats<LANES> v;
            for (int j = 0; j < LANES; j += 4) {
                floats<4> four = load<4>(sums + row * shape::sum_stride + column + j);
                for (int k = 0; k < 4; k++) v[j + k] = four[k];
            }
            finish_sums<LANES>(p, v, added, (int64_t)(first_row + row) * p.outputs + first_column + column);
        }
    } else {
        for (int i = threadIdx.x; i < rows * shape::columns; i += shape::threads) {
            int row = i / shape::columns, column = i % shape::columns;
            if (column >= columns) continue;
            float added = bias ? bias[first_column + column] : 0;
            floats<1> v = {{sums[row * shape::sum_stride + column]}};
            finish_sums<1>(p, v, &added, (int64_t)(first_row + row) * p.outputs + first_column + column);
        }
    }
}
