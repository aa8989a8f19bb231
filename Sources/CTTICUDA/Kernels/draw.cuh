// Drawing a token from a row of logits, done by one block; the meaning is `sample`'s of TTICore's Backend.
//
// The row is read once into shared memory, where everything after finds it. Most of the work is noise: 20 multiplications
// for four numbers and two logarithms each, so it is made only for tokens that can win.
#pragma once
#include "philox.cuh"
#include "select.cuh"

// A row of logits in memory, guided where there are two; in shared memory too if it fits.
template <class T> struct logits_row {
    const T *first, *conditional;
    float guidance;
    float *shared;
    bool is_shared;

    INLINE_MEMBER float read(int i) const {
        float x = to_float(first[i]);
        return conditional ? x + guidance * (to_float(conditional[i]) - x) : x;
    }
    INLINE_MEMBER float operator[](int i) const { return is_shared ? shared[i] : read(i); }
};

// The same divided by the temperature.
template <class T> struct scores_row {
    logits_row<T> logits;
    float temperature;
    INLINE_MEMBER float operator[](int i) const { return logits[i] / temperature; }
};

struct draw_settings {
    float temperature, top_p;
    int top_k;
    // The index of token 0 in the stream.
    uint64_t first_index;
    random_stream stream;
};

INLINE draw_settings settings_of(const tti_draw &p, int64_t image, int32_t position, uint64_t first_index) {
    const float *settings = pointer<const float>(p.settings);
    const uint32_t *key = pointer<const uint32_t>(p.keys) + 2 * image;
    random_stream stream = {{key[0], key[1]}, (uint32_t)position, PURPOSE_TOKEN};
    return {settings[0], settings[2], __float2int_rz(settings[1]), first_index, stream};
}

struct drawn {
    int32_t token;
    // Only if wanted.
    float log_probability;
    bool is_finite;
};

// Least and largest rank above -infinity of a row, which is put into shared memory if it fits. What is not a number, and
// infinity, rank highest of all.
template <class T> INLINE extremes read_row(const logits_row<T> &row, int count) {
    extremes own = {0xffffffffu, 0};
    auto note = [&](float x) {
        uint32_t rank = x < infinity() ? rank_of(x) : 0xffffffffu;
        if (rank >= LEAST_RANK) own.least = min(own.least, rank);
        own.most = max(own.most, rank);
    };
    const int lanes = lanes_of<T>::count;
    if (((uint64_t)row.first | (uint64_t)row.conditional) % 16 == 0 && row.is_shared) {
        int whole = count / lanes;
#pragma unroll 2
        for (int i = threadIdx.x; i < whole; i += blockDim.x) {
            floats<lanes> x = load<lanes>(row.first + i * lanes);
            if (row.conditional) {
                floats<lanes> y = load<lanes>(row.conditional + i * lanes);
                for (int j = 0; j < lanes; j++) x[j] = x[j] + row.guidance * (y[j] - x[j]);
            }
            for (int j = 0; j < lanes; j++) note(x[j]);
            for (int j = 0; j < lanes; j += 4) {
                store(row.shared + i * lanes + j, floats<4>{x[j], x[j + 1], x[j + 2], x[j + 3]});
            }
        }
        for (int i = whole * lanes + threadIdx.x; i < count; i += blockDim.x) note(row.shared[i] = row.read(i));
    } else {
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            float x = row.read(i);
            if (row.is_shared) row.shared[i] = x;
            note(x);
        }
    }
    return block_extremes(own);
}

// The largest score and the first place that has it; all threads get it.
struct winner {
    uint32_t rank;
    int place;
};

INLINE winner block_winner(winner own) {
    __shared__ uint32_t ranks[WARP];
    __shared__ int places[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    auto of_warp = [](winner w) {
        uint32_t most = __reduce_max_sync(ALL_LANES, w.rank);
        return winner{most, __reduce_min_sync(ALL_LANES, w.rank == most ? w.place : ALL_PLACES)};
    };
    own = of_warp(own);
    __syncthreads();
    if (lane == 0) {
        ranks[warp] = own.rank;
        places[warp] = own.place;
    }
    __syncthreads();
    return of_warp(lane < warps ? winner{ranks[lane], places[lane]} : winner{0, ALL_PLACES});
}

// One token; all threads get it.
template <class T>
INLINE drawn draw(
    selection &memory, const logits_row<T> &row, const tti_draw &p, const draw_settings &s, bool wants_probability
) {
    int count = (int)p.vocabulary;
    extremes range = read_row(row, count);
    if (range.most >= INFINITE_RANK || range.most < LEAST_RANK) return {0, 0, false};
    float largest = of_rank(range.most);
    bool is_random = s.temperature != 0;
    scores_row<T> scores = {row, is_random ? s.temperature : 1};
    float top = largest / scores.temperature;
    cut kept = {LEAST_RANK, ALL_PLACES};
    if (!is_random) {
        kept.rank = range.most;
    } else {
        range = {max(rank_of(of_rank(range.least) / s.temperature), LEAST_RANK), rank_of(top)};
        if (s.top_k > 0 && s.top_k < count) {
            kept = select(memory, scores, count, range, by_count{(uint64_t)s.top_k, true});
            range.least = kept.rank;
        }
        if (s.top_p < 1) {
            kept = select(memory, scores, count, range, by_weight{s.top_p, top, p.weight_bits, p.low_bits});
        }
    }
    // Noise lies between -2.82 and 16.64: what is further below the top than that cannot win.
    uint32_t hopeful = is_random ? rank_of(top - 19.6f) : kept.rank;
    int shift = (int)(s.first_index % 4);
    uint32_t counter = (uint32_t)(s.first_index / 4);
    winner own = {0, ALL_PLACES};
    float sum = 0;
    for (int quad = threadIdx.x; quad * 4 < count + shift; quad += blockDim.x) {
        int place = quad * 4 - shift;
        floats<4> x;
        if (row.is_shared && shift == 0 && place + 4 <= count) {
            x = load<4>((const float *)row.shared + place);
        } else {
            for (int j = 0; j < 4; j++) x[j] = place + j >= 0 && place + j < count ? row[place + j] : -infinity();
        }
        if (wants_probability) {
            for (int j = 0; j < 4; j++) sum += expf(x[j] - largest);
        }
        bool takes_part[4], is_needed = false;
        for (int j = 0; j < 4; j++) {
            x[j] /= scores.temperature;
            uint32_t rank = rank_of(x[j]);
            takes_part[j] = rank >= hopeful && kept.keeps(rank, place + j);
            is_needed |= takes_part[j];
        }
        if (!is_needed) continue;
        random_words words = is_random ? philox(s.stream, counter + quad) : random_words{};
        for (int j = 0; j < 4; j++) {
            if (!takes_part[j]) continue;
            uint32_t rank = rank_of(is_random ? x[j] + gumbel(words.word[j]) : x[j]);
            if (rank > own.rank) own = {rank, place + j};
        }
    }
    winner best = block_winner(own);
    // Nothing wins only where a temperature makes numbers infinite.
    drawn result = {best.place < count ? best.place : 0, 0, true};
    if (wants_probability) result.log_probability = (row[result.token] - largest) - logf(block_sum(sum));
    return result;
}
