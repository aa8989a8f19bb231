// Products of few rows by the tensor cores: the matrix-vector work of decoding in bfloat16, with weights of bfloat16 or int8.
//
// A block of 8 warps makes `tiles` · 8 outputs; every warp has an eighth of the inputs, and their sums are added in the order
// of the warps. The four lanes of an output read 64 bytes next to each other, and the order of inputs inside such a block
// is chosen so that those bytes are a fragment of `mma`; x is the tall operand. Matrices of decoding lie in panels (weights.cu):
// there the 64 bytes of eight outputs are next to each other, and what a warp reads is one stream. Others lie output after output.
//
// What counts is the way from the kernel before to the kernel after, a microsecond or two: of it the memory takes a third.
// So nothing is done after the wait that can be done before it (addresses, weights, the norm's weights), there is one barrier,
// and a warp copies its own part of x alone. Weights are asked for long before the inputs are there: the next kernel is
// brought in as soon as this one has asked for its own.
//
// The norm is no step of its own:
//
//     norm(x) · W = (x·n · W - mean · (n · W)) / deviation + b · W        n, b: the norm's weights and biases
//
// n · W and b · W are known beforehand (norm_of_matrix.cu). x·n is multiplied as two bfloat16 (the nearest, and what it lacks:
// rows 0-7 and 8-15 of the tall operand, free as long as there are few rows), and n lies as two bfloat16, too. The sums of x and
// of its squares come from the tensor cores: x times its own transpose has the squares in the diagonal, and a row of ones
// gives the sums.
//
// int8 weights become bfloat16 on the way (panels.cuh), which has room for all of them: x is not rounded.
//
// A row's sums depend on nothing but the row and the matrix. Measured: the article GPU.
#pragma once
#include "panels.cuh"

#ifdef TTI_BF16

#define THREADS 256
#define WARPS (THREADS / WARP)
// Rows of x in one tall operand with a norm.
#define NORMED_ROWS 8
// Pieces of 16 bytes of the norm's weights that a lane asks for before the weights.
#define HALVES 4
#define ONES 0x3f803f80u
#define MINUS_ZEROS 0x80008000u

// MARK: Weights

// How a lane's 16 bytes become pairs of neighbouring inputs.
struct of_bfloat16 {
    static const int inputs = 32;  // of 64 bytes
    static const int vectors = 1;  // of 16 bytes, of x for as many inputs
    static const int bytes = 2;
    static const bool has_scales = false;
    static INLINE_MEMBER void unpack(const bytes16 &w, uint32_t pair[4]) {
        for (int i = 0; i < 4; i++) pair[i] = w.word[i];
    }
    static INLINE_MEMBER uint32_t input(uint32_t two) { return two; }
};

struct of_int8 {
    static const int inputs = 64;
    static const int vectors = 2;
    static const int bytes = 1;
    static const bool has_scales = true;
    static INLINE_MEMBER void unpack(const bytes16 &w, uint32_t pair[8]) {
        for (int i = 0; i < 8; i++) pair[i] = pair_of_panel(w.word[i / 2], i % 2);
    }
    static INLINE_MEMBER uint32_t input(uint32_t two) { return multiply_add_pair(two, PANEL_INPUT_UNITS, MINUS_ZEROS); }
};

// A warp's part of the inputs: `left` blocks of 64 bytes of weights from `start` on, room for `share`.
struct inputs_of_warp {
    int share, start, left;

    INLINE_MEMBER inputs_of_warp(int inputs, int of_block) {
        int blocks = (inputs + of_block - 1) / of_block;
        share = (blocks + WARPS - 1) / WARPS;
        start = threadIdx.x / WARP * share;
        left = max(0, min(share, blocks - start));
    }
};

// MARK: Inputs

// Eight neighbours of a row as bfloat16, zeros where there are no more; any address.
INLINE bytes16 gather_row(const element *row, int column, int inputs) {
    uint32_t bits[8];
    for (int j = 0; j < 8; j++) bits[j] = column + j < inputs ? row[column + j].bits : 0;
    return bytes16{{bits[0] | bits[1] << 16, bits[2] | bits[3] << 16, bits[4] | bits[5] << 16, bits[6] | bits[7] << 16}};
}

// MARK: Outputs

// The `index`th output of a block, row after row.
struct output_place {
    int row, output, column;
    bool is_there;
    // Among all.
    int64_t index;

    INLINE_MEMBER output_place(const tti_decode_linear &p, int index, int outputs, int first_row, int rows, int first_output)
        : row(index / outputs), output(index % outputs), column(first_output + output) {
        is_there = row < rows && column < p.outputs;
        this->index = (int64_t)(first_row + row) * p.outputs + column;
    }
};

// What an output is multiplied by, and what is added to it.
template <class Weight> struct output_terms {
    float bias, residual, scale, normed_weight, normed_bias;

    // What no kernel writes.
    INLINE_MEMBER output_terms(const tti_decode_linear &p, const output_place &at)
        : bias(0), residual(0), scale(1), normed_weight(0), normed_bias(0) {
        if (Weight::has_scales && at.is_there) scale = pointer<const float>(p.scales)[at.column] * SUMS_IN_PANEL_UNIT;
        if (at.is_there && p.norm_sums) {
            normed_weight = pointer<const float>(p.norm_sums)[2 * at.column];
            normed_bias = pointer<const float>(p.norm_sums)[2 * at.column + 1];
        }
    }
    // As soon as the inputs are there: at the end it would be a way to memory and back of its own.
    INLINE_MEMBER void ask(const tti_decode_linear &p, const output_place &at) {
        if (at.is_there && p.bias) bias = load_now(pointer<const float>(p.bias) + at.column);
        if (at.is_there && p.residual) residual = to_float(load_now(pointer<const element>(p.residual) + at.index));
    }
};

// Of a part of x.
struct row_moments {
    float sum, squares;
};

// What the warps found, in shared memory: sums [warp][row][output], and [warp][row] of x and of its squares.
struct sums_of_warps {
    float *sums;
    row_moments *of_x;
    int rows, outputs;

    INLINE_MEMBER sums_of_warps(char *shared, int rows, int outputs) : rows(rows), outputs(outputs) {
        sums = (float *)shared;
        of_x = (row_moments *)(sums + WARPS * rows * outputs);
    }
    INLINE_MEMBER float &at(int warp, int row, int output) const { return sums[(warp * rows + row) * outputs + output]; }
    INLINE_MEMBER row_moments &x(int warp, int row) const { return of_x[warp * rows + row]; }
};

template <class Weight, bool normed>
INLINE void finish(const tti_decode_linear &p, const sums_of_warps &parts, const output_place &at,
                   const output_terms<Weight> &terms) {
    if (!at.is_there) return;
    float y = 0;
#pragma unroll
    for (int warp = 0; warp < WARPS; warp++) y += parts.at(warp, at.row, at.output);
    if (normed) {
        float sum = 0, squares = 0;
#pragma unroll
        for (int warp = 0; warp < WARPS; warp++) {
            row_moments of_x = parts.x(warp, at.row);
            sum += of_x.sum;
            squares += of_x.squares;
        }
        float one = __fdividef(1.0f, p.inputs);
        float mean = p.norm == TTI_LAYER_NORM ? sum * one : 0.0f;
        float variance = fmaxf(fmaf(-mean, mean, squares * one), 0.0f);
        y = fmaf(fmaf(-mean, terms.normed_weight, y), rsqrtf(variance + p.epsilon), terms.normed_bias);
    }
    y = fmaf(y, terms.scale, terms.bias);
    if (p.activation) y = activated(y, p.activation);
    assign(pointer<element>(p.y)[at.index], y + terms.residual);
}

// MARK: The product

// `depth` blocks of weights are under way in each warp. `staged`: x lies in shared memory, else in registers, where
// a warp's share is at most `depth` blocks, the rows are at most 8 and begin at multiples of 16 bytes. `sets`: how many times 8
// rows with a norm. `chains` of products follow one another: with one tile they would wait for each other.
template <class Weight, int tiles, int depth, int chains, bool normed, bool staged, int sets>
INLINE void multiply(const tti_decode_linear &p) {
    constexpr int vectors = Weight::vectors, inputs = Weight::inputs, pairs = 4 * vectors, outputs = tiles * 8;
    SHARED_MEMORY(shared);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row), first_output = blockIdx.x * outputs;
    inputs_of_warp own_inputs(p.inputs, inputs);
    int left = own_inputs.left, first_input = own_inputs.start * inputs;
    int rounds = staged ? (own_inputs.share + depth - 1) / depth : 1;
    // Of a row in shared memory: what a warp has of it, filled up with zeros.
    int span = rounds * depth * inputs * 2, stride = WARPS * span + 64;
    char *own_shared = shared + warp * span;
    // The norm's weights lie behind the rows, 16 bytes of the nearest and 16 of what they lack in turns.
    char *norm = shared + (staged ? p.group * stride : 0) + warp * span * 2;
    sums_of_warps parts(shared + (staged ? p.group * stride : 0) + (normed ? 2 * WARPS * span : 0), p.group, outputs);

    // The weights, and before them what is smaller; the norm's weights lie down when all are under way.
    const bytes16 *halves = pointer<const bytes16>(p.norm_weight) + first_input / 4;
    bytes16 own_halves[HALVES];
    if (normed) {
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
            int c = lane + i * WARP;
            own_halves[i] = bytes16{{0, 0, 0, 0}};
            if (c * 4 < left * inputs) own_halves[i] = load_stream(halves + c);
        }
    }
    // Bytes of a matrix are fewer than 2³².
    const char *weight = pointer<const char>(p.weight);
    uint32_t row[tiles];
#pragma unroll
    for (int q = 0; q < tiles; q++) {
        // The last outputs are read again where there are no more.
        int output = min(first_output + q * 8 + g, p.outputs - 1);
        row[q] = (uint32_t)(output & ~7) * p.stride * Weight::bytes + (output & 7) * p.output_step +
                 own_inputs.start * p.block_step + t * 16;
    }
    bytes16 w[depth][tiles];
#pragma unroll
    for (int i = 0; i < depth; i++) {
#pragma unroll
        for (int q = 0; q < tiles; q++) {
            w[i][q] = bytes16{{0, 0, 0, 0}};
            if (i < left) w[i][q] = load_stream(weight + row[q] + i * p.block_step);
        }
    }

    if (normed) {
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
            int c = lane + i * WARP;
            if (c < span / 8) *(bytes16 *)(norm + c * 16) = own_halves[i];
        }
        for (int c = lane + HALVES * WARP; c < span / 8; c += WARP) {
            *(bytes16 *)(norm + c * 16) = c * 4 < left * inputs ? load_stream(halves + c) : bytes16{{0, 0, 0, 0}};
        }
    }

    // Addresses of what is read after the wait.
    bool has_row = g < rows;
    const element *x = pointer<const element>(p.x) + (int64_t)first_row * p.inputs;
    if (!staged) x += (has_row ? g : 0) * p.inputs + first_input + t * vectors * 8;
    output_place own(p, threadIdx.x, outputs, first_row, rows, first_output);
    output_terms<Weight> own_terms(p, own);
    bring_next();
    wait_for_inputs();

    bytes16 own_x[staged ? 1 : depth][vectors];
    if (!staged) {
#pragma unroll
        for (int i = 0; i < depth; i++) {
#pragma unroll
            for (int v = 0; v < vectors; v++) {
                own_x[i][v] = bytes16{{0, 0, 0, 0}};
                if (has_row && i < left && first_input + i * inputs + (t * vectors + v) * 8 < p.inputs) {
                    own_x[i][v] = load_now((const bytes16 *)(x + i * inputs + v * 8));
                }
            }
        }
    } else {
        bool is_whole = (p.x | (p.inputs * sizeof(element))) % 16 == 0;
        for (int c = lane; c < span / 16; c += WARP) {
            int column = first_input + c * 8;
            bool is_inside = c * 8 < left * inputs && column < p.inputs;
            for (int r = 0; r < rows; r++) {
                char *target = own_shared + r * stride + c * 16;
                const element *source = x + (int64_t)r * p.inputs;
                if (is_whole) {
                    copy_async(target, is_inside ? source + column : x, is_inside);
                } else {
                    *(bytes16 *)target = is_inside ? gather_row(source, column, p.inputs) : bytes16{{0, 0, 0, 0}};
                }
            }
        }
        copy_commit();
    }
    own_terms.ask(p, own);
    // In registers, weights become what they are multiplied as while x is on its way, where there is room for it.
    constexpr bool ahead = !staged && (Weight::bytes == 2 || depth * tiles * pairs <= 32);
    uint32_t unpacked[ahead ? depth : 1][tiles][pairs];
    if (ahead) {
#pragma unroll
        for (int i = 0; i < depth; i++) {
#pragma unroll
            for (int q = 0; q < tiles; q++) Weight::unpack(w[i][q], unpacked[i][q]);
        }
    }
    if (staged) copy_wait<0>();
    if (staged || normed) __syncwarp();

    float d[sets][tiles][chains][4] = {}, of_x[sets][4] = {};
    const char *at = own_shared + t * vectors * 16, *at_norm = norm + t * vectors * 32;
    for (int round = 0; round < rounds; round++) {
#pragma unroll
        for (int i = 0; i < depth; i++) {
#pragma unroll
            for (int set = 0; set < sets; set++) {
                // Rows 0-7 and 8-15 of the tall operand.
                uint32_t high[pairs], low[pairs];
#pragma unroll
                for (int v = 0; v < vectors; v++) {
                    bytes16 eight = {{0, 0, 0, 0}}, second = {{0, 0, 0, 0}};
                    if (!staged) {
                        eight = own_x[i][v];
                    } else {
                        const char *place = at + i * inputs * 2 + v * 16;
                        int own_row = set * NORMED_ROWS + g;
                        if (normed ? own_row < rows : has_row) eight = *(const bytes16 *)(place + own_row * stride);
                        if (!normed && g + 8 < rows) second = *(const bytes16 *)(place + (g + 8) * stride);
                    }
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        high[v * 4 + j] = normed ? eight.word[j] : Weight::input(eight.word[j]);
                        low[v * 4 + j] = Weight::input(second.word[j]);
                    }
                }
                if (normed) {
#pragma unroll
                    for (int j = 0; j < pairs; j += 2) {
                        uint32_t columns[2] = {high[j], high[j + 1]}, with_ones[4] = {high[j], ONES, high[j + 1], ONES};
                        multiply_tile(of_x[set], with_ones, columns);
                    }
#pragma unroll
                    for (int v = 0; v < vectors; v++) {
                        const bytes16 *n = (const bytes16 *)(at_norm + (i * inputs * 2 + v * 16) * 2);
                        bytes16 nearest = n[0], lacking = n[1];
#pragma unroll
                        for (int j = 0; j < 4; j++) {
                            uint32_t as_it_is = high[v * 4 + j];
                            uint32_t y = multiply_add_pair(as_it_is, nearest.word[j], MINUS_ZEROS);
                            high[v * 4 + j] = y;
                            low[v * 4 + j] = multiply_add_pair(as_it_is, nearest.word[j], y ^ MINUS_ZEROS);
                            low[v * 4 + j] = multiply_add_pair(as_it_is, lacking.word[j], low[v * 4 + j]);
                        }
                    }
                }
#pragma unroll
                for (int q = 0; q < tiles; q++) {
                    uint32_t *pair = unpacked[ahead ? i : 0][q];
                    if (!ahead) Weight::unpack(w[i][q], pair);
#pragma unroll
                    for (int j = 0; j < pairs; j += 2) {
                        uint32_t a[4] = {high[j], low[j], high[j + 1], low[j + 1]};
                        multiply_tile(d[set][q][i % chains], a, pair + j);
                    }
                }
            }
            if (staged && round + 1 < rounds) {
                int next = (round + 1) * depth + i;
#pragma unroll
                for (int q = 0; q < tiles; q++) {
                    if (next < left) w[i][q] = load_stream(weight + row[q] + next * p.block_step);
                }
            }
        }
        at += depth * inputs * 2;
        at_norm += depth * inputs * 4;
    }

#pragma unroll
    for (int set = 0; set < sets; set++) {
        int own_row = set * NORMED_ROWS + g;
        bool is_row = normed ? own_row < rows : has_row;
#pragma unroll
        for (int q = 0; q < tiles; q++) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                float high = d[set][q][0][j], low = d[set][q][0][2 + j];
                for (int c = 1; c < chains; c++) {
                    high += d[set][q][c][j];
                    low += d[set][q][c][2 + j];
                }
                int column = q * 8 + t * 2 + j;
                if (is_row) parts.at(warp, own_row, column) = normed ? high + low : high;
                if (!normed && g + 8 < rows) parts.at(warp, g + 8, column) = low;
            }
        }
        if (normed) {
            // Lane 4 · row + row / 2 has the square of the row, lane row / 2 its sum.
            if (is_row && t == g / 2) parts.x(warp, own_row).squares = g % 2 ? of_x[set][1] : of_x[set][0];
            for (int j = 0; j < 2; j++) {
                int row_of_sum = 2 * t + j;
                if (g == 0 && set * NORMED_ROWS + row_of_sum < rows) {
                    parts.x(warp, set * NORMED_ROWS + row_of_sum).sum = of_x[set][2 + j];
                }
            }
        }
    }
    __syncthreads();
    // The place is found again: until here registers are short.
    finish<Weight, normed>(
        p, parts, output_place(p, thread_again(), outputs, first_row, rows, first_output), own_terms);
    for (int i = threadIdx.x + THREADS; i < rows * outputs; i += THREADS) {
        output_place other(p, i, outputs, first_row, rows, first_output);
        output_terms<Weight> terms(p, other);
        terms.ask(p, other);
        finish<Weight, normed>(p, parts, other, terms);
    }
}

#define DECODE_LINEAR(name, ...) \
    KERNEL_RESIDENT(name, tti_decode_linear, THREADS, 2) { multiply<__VA_ARGS__>(p); }

// The kernels of a file, which CUDABackend+Linear.swift chooses from: it knows these depths too.
#define DECODE_LINEARS(name, Weight, depth_of_1, depth_of_2, depth_of_short, normed) \
    DECODE_LINEAR(name##_1, Weight, 1, depth_of_1, 2, normed, true, 1) \
    DECODE_LINEAR(name##_2, Weight, 2, depth_of_2, 1, normed, true, 1) \
    DECODE_LINEAR(name##_3, Weight, 3, 4, 1, normed, true, 1) \
    DECODE_LINEAR(name##_4, Weight, 4, 4, 1, normed, true, 1) \
    DECODE_LINEAR(name##_1_short, Weight, 1, depth_of_short, 2, normed, false, 1) \
    DECODE_LINEAR(name##_2_short, Weight, 2, depth_of_short, 1, normed, false, 1) \
    DECODE_LINEAR(name##_3_short, Weight, 3, depth_of_short, 1, normed, false, 1) \
    DECODE_LINEAR(name##_4_short, Weight, 4, depth_of_short, 1, normed, false, 1)

// More rows than one tall operand has room for with a norm.
#define DECODE_LINEARS_OF_ROWS(name, Weight, depth) \
    DECODE_LINEAR(name##_1_rows, Weight, 1, depth, 2, true, true, 2) \
    DECODE_LINEAR(name##_2_rows, Weight, 2, depth, 1, true, true, 2)

#endif
