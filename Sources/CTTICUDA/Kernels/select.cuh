// Cuts of a row of numbers by what a block does together: the k largest, or the smallest set of largest ones whose weights
// reach a sum. Nothing is sorted: the row is counted into bins, the bin in which the sum is reached is counted again, more
// finely, until a single number is left. Weights are integers, whose sums do not depend on the order of addition.
#pragma once
#include "device.cuh"

#define BINS 2048
// A digit of a rank that bins tell apart.
#define BIN_BITS 11

INLINE float infinity() { return as_float(0x7f800000u); }

// A number that orders as the float does.
INLINE uint32_t rank_of(float x) {
    uint32_t bits = as_bits(x + 0.0f);  // -0 ranks as 0
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
INLINE float of_rank(uint32_t rank) { return as_float(rank & 0x80000000u ? rank & 0x7fffffffu : ~rank); }
// The rank of the least number above -infinity, and of infinity.
#define LEAST_RANK 0x00800000u
#define INFINITE_RANK 0xff800000u

// What the threads of a block share while they select; at the beginning of the dynamic shared memory.
struct __align__(16) selection {
    // Sums of weights by bin, in two parts: shared memory adds 32 bits natively.
    uint32_t low[BINS], high[BINS];
    uint64_t totals[WARP];
    uint64_t left;
    int32_t place;
    // By turns, so that one may be set up while the other is still read.
    uint32_t least[2], most[2], count[2];
};

static_assert(sizeof(selection) <= TTI_SELECTION_BYTES, "what lies behind it would be overwritten");

// What is kept: ranks above `rank`, and of those that equal it the places up to `last`.
struct cut {
    uint32_t rank;
    int last;
    INLINE_MEMBER bool keeps(uint32_t own, int place) const { return own > rank || (own == rank && place <= last); }
};

#define ALL_PLACES 0x7fffffff

// The least and the largest rank of a block's threads.
struct extremes {
    uint32_t least, most;
};

INLINE extremes block_extremes(extremes own) {
    __shared__ uint32_t least[WARP], most[WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    own = {__reduce_min_sync(ALL_LANES, own.least), __reduce_max_sync(ALL_LANES, own.most)};
    __syncthreads();
    if (lane == 0) {
        least[warp] = own.least;
        most[warp] = own.most;
    }
    __syncthreads();
    int other = lane < warps ? lane : 0;
    return {__reduce_min_sync(ALL_LANES, least[other]), __reduce_max_sync(ALL_LANES, most[other])};
}

INLINE uint64_t warp_prefix(uint64_t own) {
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        uint64_t before = __shfl_up_sync(ALL_LANES, own, offset);
        if ((int)threadIdx.x % WARP >= offset) own += before;
    }
    return own;
}

// The sum of the threads up to this one, and of all. There is a barrier between two uses of `totals`, and one in here.
INLINE uint64_t block_prefix(uint64_t own, uint64_t *totals, uint64_t &total) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    uint64_t upto = warp_prefix(own);
    if (lane == WARP - 1) totals[warp] = upto;
    __syncthreads();
    uint64_t of_warps = warp_prefix(lane < warps ? totals[lane] : 0);
    total = __shfl_sync(ALL_LANES, of_warps, WARP - 1);
    uint64_t before = __shfl_sync(ALL_LANES, of_warps, warp > 0 ? warp - 1 : 0);
    return upto + (warp > 0 ? before : 0);
}

// Keeps the k largest.
struct by_count {
    uint64_t k;
    // Whether what equals the k-th stays too.
    bool keeps_equals;
    int low_bits = 31;

    INLINE_MEMBER uint32_t weight(float) const { return 1; }
    INLINE_MEMBER uint64_t wanted(uint64_t total) const { return k < total ? k : total; }
    INLINE_MEMBER float reach() const { return infinity(); }
};

// Keeps the smallest set of largest probabilities whose sum reaches `share`, at least one; of equal ones the first.
struct by_weight {
    float share;
    // The largest number, whose weight is 2^bits.
    float top;
    int bits, low_bits;
    bool keeps_equals = false;

    INLINE_MEMBER uint32_t weight(float x) const {
        return __float2uint_rn(expf(x - top) * (float)(1u << bits));
    }
    INLINE_MEMBER uint64_t wanted(uint64_t total) const {
        double sum = ceil((double)share * (double)total);
        return sum < 1 ? 1 : (uint64_t)sum;
    }
    // What is further below the top weighs nothing.
    INLINE_MEMBER float reach() const { return 24; }
};

// Cuts what lies between two ranks of the row, both of which occur in it. All threads of the block call it (their number
// divides BINS) and get the same. `row[i]` is the number at place i; where equals are divided the first places stay.
template <class Row, class Rule>
INLINE cut select(selection &s, const Row &row, int count, extremes range, const Rule &rule) {
    int lane = threadIdx.x % WARP, per_thread = BINS / blockDim.x, first_bin = threadIdx.x * per_thread;
    float top = of_rank(range.most);
    // At first the bins divide the numbers evenly, then their ranks.
    float width = fminf(top - of_rank(range.least), rule.reach()), scale = width > 0 ? BINS / width : 0;
    uint64_t wanted = 0;
    uint32_t low = range.least, high = range.most, equals = 0;
    __syncthreads();
    for (int pass = 0; pass == 0 || low < high; pass++) {
        int turn = pass % 2;
        for (int i = threadIdx.x; i < BINS; i += blockDim.x) s.low[i] = s.high[i] = 0;
        if (threadIdx.x == 0) {
            s.least[turn] = 0xffffffffu;
            s.most[turn] = s.count[turn] = 0;
        }
        __syncthreads();
        int spread = WARP - __clz((int)(high - low)), shift = spread > BIN_BITS ? spread - BIN_BITS : 0;
        auto bin_of = [&](float x, uint32_t rank) {
            if (pass > 0) return (int)((high - rank) >> shift);
            int bin = __float2int_rz((top - x) * scale);
            return bin < BINS ? bin : BINS - 1;
        };
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            float x = row[i];
            uint32_t rank = rank_of(x);
            if (rank < low || rank > high) continue;
            int bin = bin_of(x, rank);
            uint32_t weight = rule.weight(x), above = weight >> rule.low_bits;
            atomicAdd(&s.low[bin], weight & ((1u << rule.low_bits) - 1));
            if (above) atomicAdd(&s.high[bin], above);
        }
        __syncthreads();
        auto sum_of = [&](int bin) { return s.low[bin] + ((uint64_t)s.high[bin] << rule.low_bits); };
        uint64_t own = 0, total;
        for (int i = 0; i < per_thread; i++) own += sum_of(first_bin + i);
        uint64_t end = block_prefix(own, s.totals, total);
        if (pass == 0) wanted = rule.wanted(total);
        if (end - own < wanted && wanted <= end) {
            uint64_t left = wanted - (end - own);
            int bin = first_bin;
            while (left > sum_of(bin)) left -= sum_of(bin++);
            s.left = left;
            s.place = bin;
        }
        __syncthreads();
        wanted = s.left;
        int reached = s.place;
        uint32_t least = 0xffffffffu, most = 0, own_count = 0;
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            float x = row[i];
            uint32_t rank = rank_of(x);
            if (rank < low || rank > high || bin_of(x, rank) != reached) continue;
            least = min(least, rank);
            most = max(most, rank);
            own_count++;
        }
        own_count = __reduce_add_sync(ALL_LANES, own_count);
        least = __reduce_min_sync(ALL_LANES, least);
        most = __reduce_max_sync(ALL_LANES, most);
        if (lane == 0 && own_count > 0) {
            atomicMin(&s.least[turn], least);
            atomicMax(&s.most[turn], most);
            atomicAdd(&s.count[turn], own_count);
        }
        __syncthreads();
        low = s.least[turn];
        high = s.most[turn];
        equals = s.count[turn];
    }
    // Of `equals` places with this one rank, so many stay:
    uint32_t weight = max(rule.weight(of_rank(high)), 1u);
    uint64_t kept = (wanted + weight - 1) / weight;
    if (rule.keeps_equals || kept >= equals) return {high, ALL_PLACES};
    int chunk = (count + (int)blockDim.x - 1) / (int)blockDim.x, begin = threadIdx.x * chunk;
    uint64_t own = 0, total;
    for (int i = begin; i < begin + chunk && i < count; i++) own += rank_of(row[i]) == high;
    uint64_t end = block_prefix(own, s.totals, total);
    if (end - own < kept && kept <= end) {
        uint64_t left = kept - (end - own);
        int i = begin;
        for (;; i++) {
            if (rank_of(row[i]) == high && --left == 0) break;
        }
        s.place = i;
    }
    __syncthreads();
    return {high, s.place};
}
