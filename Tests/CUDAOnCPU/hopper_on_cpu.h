// What hopper.cuh says with Hopper's own instructions, in C++. Copies land when somebody waits at their barrier and not before;
// products are made when they are waited for, so that a stage that is filled again too early is found out.
#pragma once

#define SHARED_BOXES(name)                                                   \
    char *const name = (char *)__builtin_assume_aligned(tti_cpu_boxes(), 1024)

TTI_CPU_INLINE char *tti_cpu_boxes(TTI_CPU_PLACE) {
    char *shared = tti_cpu_dynamic_shared();
    if ((unsigned long)shared % 1024) tti_cpu->fail(716, "shared memory is no multiple of 1024 bytes", {"SHARED_BOXES", file, line});
    return shared;
}

// MARK: Barriers

struct tti_cpu_phases {
    unsigned short count, left;
    int bytes : 31;
    unsigned odd : 1;
};
static_assert(sizeof(tti_cpu_phases) == 8, "a barrier has 64 bits");

struct tti_cpu_box_copy {
    char *target;
    const tti_cpu_tensor_map *map;
    uint64_t *barrier;
    int at[5];
};

// Begins as all bits set, as every shared variable.
__shared__ int tti_cpu_box_copies_less_one;
static tti_cpu_box_copy tti_cpu_box_copies[256];

TTI_CPU_UNCHECKED static void tti_cpu_end_phase(uint64_t *barrier) {
    tti_cpu_phases *phases = (tti_cpu_phases *)barrier;
    if (phases->left || phases->bytes) return;
    phases->odd ^= 1;
    phases->left = phases->count;
}

TTI_CPU_UNCHECKED static int tti_cpu_box_bytes(const tti_cpu_tensor_map *map) {
    int bytes = map->element_bytes;
    for (int i = 0; i < map->rank; i++) bytes *= map->box[i];
    return bytes;
}

// Rows of 128 or 64 bytes; pieces of 16 change places by the bits of their address.
TTI_CPU_INLINE unsigned long tti_cpu_swizzled(unsigned long address, int row_bytes = 128) {
    return address ^ (address >> 7 & (unsigned long)(row_bytes / 16 - 1)) << 4;
}

// Between a box in shared memory and the tensor: to the box, or back.
TTI_CPU_UNCHECKED static void tti_cpu_move(const tti_cpu_box_copy &copy, bool is_store) {
    const tti_cpu_tensor_map *map = copy.map;
    int rows = 1, width = map->box[0], bytes = map->element_bytes;
    for (int i = 1; i < map->rank; i++) rows *= map->box[i];
    for (int row = 0; row < rows; row++) {
        bool inside = true;
        unsigned long long address = map->address;
        for (int i = 1, rest = row; i < map->rank; i++) {
            int place = copy.at[i] + rest % map->box[i] * map->steps[i];
            rest /= map->box[i];
            inside = inside && place >= 0 && (unsigned)place < map->sizes[i];
            address += (unsigned long long)place * map->strides[i - 1];
        }
        for (int i = 0; i < width; i++) {
            int column = copy.at[0] + i;
            char *in_box = (char *)tti_cpu_swizzled(
                (unsigned long)copy.target + (unsigned long)((row * width + i) * bytes), map->row_bytes);
            char *in_tensor = (char *)address + (long)column * bytes;
            if (!inside || column < 0 || (unsigned)column >= map->sizes[0]) {
                if (!is_store) __builtin_memset(in_box, 0, (unsigned long)bytes);
                continue;
            }
            __builtin_memcpy(is_store ? in_tensor : in_box, is_store ? in_box : in_tensor, (unsigned long)bytes);
        }
    }
}

TTI_CPU_UNCHECKED static void tti_cpu_land_at(uint64_t *barrier) {
    int count = tti_cpu_box_copies_less_one + 1, kept = 0;
    for (int i = 0; i < count; i++) {
        const tti_cpu_box_copy copy = tti_cpu_box_copies[i];
        if (copy.barrier != barrier) {
            tti_cpu_box_copies[kept++] = copy;
            continue;
        }
        tti_cpu_move(copy, false);
        tti_cpu_phases *phases = (tti_cpu_phases *)barrier;
        phases->bytes = phases->bytes - tti_cpu_box_bytes(copy.map);
        tti_cpu_end_phase(barrier);
    }
    tti_cpu_box_copies_less_one = kept - 1;
}

TTI_CPU_INLINE void begin_barrier(uint64_t *barrier, int arrivals, TTI_CPU_PLACE) {
    if (!tti_cpu->is_shared(barrier, 8)) tti_cpu->fail(700, "the barrier is not in shared memory", {"begin_barrier", file, line});
    tti_cpu_phases phases = {(unsigned short)arrivals, (unsigned short)arrivals, 0, 0};
    __builtin_memcpy(barrier, &phases, 8);
}
TTI_CPU_INLINE void show_barriers() { __asm__ volatile("" ::: "memory"); }

TTI_CPU_INLINE void arrive_expecting(uint64_t *barrier, int bytes, TTI_CPU_PLACE) {
    tti_cpu_phases *phases = (tti_cpu_phases *)barrier;
    if (phases->left == 0 || phases->left > phases->count)
        tti_cpu->fail(719, "more have arrived than the barrier was begun with", {"arrive", file, line});
    phases->left--;
    phases->bytes = phases->bytes + bytes;
    tti_cpu_end_phase(barrier);
}
TTI_CPU_INLINE void arrive(uint64_t *barrier, TTI_CPU_PLACE) { arrive_expecting(barrier, 0, file, line); }

TTI_CPU_INLINE void wait_barrier(uint64_t *barrier, uint32_t odd, TTI_CPU_PLACE) {
    for (;;) {
        tti_cpu_land_at(barrier);
        if (((volatile tti_cpu_phases *)barrier)->odd != odd) return;
        tti_cpu->yield({"wait_barrier", file, line});
    }
}

__shared__ int tti_cpu_named_arrived_less_one[16];
__shared__ unsigned tti_cpu_named_rounds[16];

TTI_CPU_INLINE void wait_for_threads(int number, int threads, TTI_CPU_PLACE) {
    volatile unsigned *rounds = &tti_cpu_named_rounds[number];
    unsigned round = *rounds;
    volatile int *arrived = &tti_cpu_named_arrived_less_one[number];
    *arrived = *arrived + 1;
    if (*arrived + 1 == threads) {
        *arrived = -1;
        *rounds = round + 1;
        return;
    }
    while (*rounds == round) tti_cpu->yield({"wait_for_threads", file, line});
}

// MARK: Copies

TTI_CPU_INLINE void expect_map(const void *) {}

TTI_CPU_INLINE const tti_cpu_tensor_map *tti_cpu_box_map(const void *map, const void *shared, const tti_cpu_place &place) {
    const tti_cpu_tensor_map *own = (const tti_cpu_tensor_map *)map;
    if ((unsigned long)map % 64) tti_cpu->fail(716, "the map is no multiple of 64", place);
    if (own->mark != tti_cpu_map_mark || own->rank != 4) tti_cpu->fail(719, "the map was not encoded for four dimensions", place);
    if ((unsigned long)shared % 1024) tti_cpu->fail(716, "a box does not begin at a multiple of 1024", place);
    if (!tti_cpu->is_shared(shared, (unsigned)tti_cpu_box_bytes(own)))
        tti_cpu->fail(700, "the box is not in shared memory", place);
    return own;
}

TTI_CPU_INLINE void copy_box(
    void *shared, const void *map, uint64_t *barrier, int channel, int x, int y, int image, TTI_CPU_PLACE) {
    const tti_cpu_place place = {"copy_box", file, line};
    const tti_cpu_tensor_map *own = tti_cpu_box_map(map, shared, place);
    int count = tti_cpu_box_copies_less_one + 1;
    if (count == 256) tti_cpu->fail(719, "too many copies are under way", place);
    __builtin_memset(shared, 0xff, (unsigned long)tti_cpu_box_bytes(own));
    tti_cpu_box_copies[count] = {(char *)shared, own, barrier, {channel, x, y, image, 0}};
    tti_cpu_box_copies_less_one = count;
}

// Stores are made when they are waited for, and not without.
__shared__ int tti_cpu_box_stores_less_one;
static tti_cpu_box_copy tti_cpu_box_stores[16];

TTI_CPU_INLINE void show_to_copies() { __asm__ volatile("" ::: "memory"); }

TTI_CPU_INLINE void store_box(
    const void *map, const void *shared, int channel, int x, int y, int image, TTI_CPU_PLACE) {
    const tti_cpu_place place = {"store_box", file, line};
    const tti_cpu_tensor_map *own = tti_cpu_box_map(map, shared, place);
    int count = tti_cpu_box_stores_less_one + 1;
    if (count == 16) tti_cpu->fail(719, "too many stores are under way", place);
    tti_cpu_box_stores[count] = {(char *)shared, own, nullptr, {channel, x, y, image, 0}};
    tti_cpu_box_stores_less_one = count;
}

TTI_CPU_INLINE void wait_for_stores() {
    int count = tti_cpu_box_stores_less_one + 1;
    for (int i = 0; i < count; i++) tti_cpu_move(tti_cpu_box_stores[i], true);
    tti_cpu_box_stores_less_one = -1;
    __asm__ volatile("" ::: "memory");
}

// MARK: Products

typedef unsigned long box_rows;
TTI_CPU_INLINE box_rows rows_at(const void *shared) { return (unsigned long)shared; }
TTI_CPU_INLINE box_rows further(box_rows rows, int bytes) { return rows + (unsigned long)bytes; }

struct box_columns {
    unsigned long first, box_bytes;
};
TTI_CPU_INLINE box_columns columns_at(const void *shared, int box_bytes) {
    return {(unsigned long)shared, (unsigned long)box_bytes};
}

struct tti_cpu_product {
    float *d;
    int count, adds;
    bool is_last;           // of its group
    bool is_of_registers;   // with a_rows and b_columns
    bool is_int8;           // d are int32_t
    box_rows a, b;
    box_columns b_columns;
    float a_rows[2][16];
    // In which a was, and what was there.
    const uint32_t *registers;
    uint32_t began_with[4];
};

__shared__ int tti_cpu_products_less_one[1024];
static tti_cpu_product tti_cpu_products[1024][64];

TTI_CPU_INLINE int tti_cpu_thread_number() { return (int)(tti_cpu->current->warp * 32 + tti_cpu->current->lane); }

TTI_CPU_UNCHECKED static void tti_cpu_read_row(box_rows rows, int row, float values[16]) {
    for (int k = 0; k < 16; k++)
        values[k] = __uint_as_float((unsigned)*(const unsigned short *)tti_cpu_swizzled(rows + (unsigned long)(row * 128 + k * 2)) << 16);
}

TTI_CPU_UNCHECKED static void tti_cpu_read_column(const box_columns &columns, int column, float values[16]) {
    unsigned long first = columns.first + (unsigned long)(column / 64) * columns.box_bytes + (unsigned long)(column % 64 * 2);
    for (int k = 0; k < 16; k++)
        values[k] = __uint_as_float((unsigned)*(const unsigned short *)tti_cpu_swizzled(first + (unsigned long)(k * 128)) << 16);
}

TTI_CPU_UNCHECKED static const signed char *tti_cpu_piece_of_row(box_rows rows, int row, int piece) {
    return (const signed char *)tti_cpu_swizzled(rows + (unsigned long)(row * 128 + piece * 16));
}

// As tti_cpu_multiply_shared, of 32 bytes of the depth.
TTI_CPU_UNCHECKED static void tti_cpu_multiply_int8(const tti_cpu_product &product) {
    int lane = (int)tti_cpu->current->lane, row = (int)(tti_cpu->current->warp % 4) * 16 + lane / 4;
    for (int j = 0; j < product.count; j++) {
        int32_t *d = (int32_t *)product.d + j;
        if (!product.adds) *d = 0;
        for (int piece = 0; piece < 2; piece++) {
            const signed char *a = tti_cpu_piece_of_row(product.a, row + j / 2 % 2 * 8, piece);
            const signed char *b = tti_cpu_piece_of_row(product.b, j / 4 * 8 + lane % 4 * 2 + j % 2, piece);
            for (int k = 0; k < 16; k++) *d += a[k] * b[k];
        }
    }
}

TTI_CPU_UNCHECKED static void tti_cpu_multiply_shared(const tti_cpu_product &product) {
    if (product.is_int8) return tti_cpu_multiply_int8(product);
    int lane = (int)tti_cpu->current->lane, row = (int)(tti_cpu->current->warp % 4) * 16 + lane / 4;
    float a[2][16], b[16];
    if (product.is_of_registers) {
        if (__builtin_memcmp(product.registers, product.began_with, 16))
            tti_cpu->fail(719, "the left operand changed before the product was done", {"multiply_registers", __FILE__, __LINE__});
        __builtin_memcpy(a, product.a_rows, sizeof a);
    } else {
        for (int i = 0; i < 2; i++) tti_cpu_read_row(product.a, row + 8 * i, a[i]);
    }
    for (int j = 0; j < product.count / 4; j++)
        for (int e = 0; e < 2; e++) {
            int column = 8 * j + lane % 4 * 2 + e;
            if (product.is_of_registers)
                tti_cpu_read_column(product.b_columns, column, b);
            else
                tti_cpu_read_row(product.b, column, b);
            for (int i = 0; i < 2; i++) {
                float *d = product.d + 4 * j + 2 * i + e, sum = product.adds ? *d : 0;
                for (int k = 0; k < 16; k++) sum += a[i][k] * b[k];
                *d = sum;
            }
        }
}

TTI_CPU_INLINE void multiply_begin() { __asm__ volatile("" ::: "memory"); }

// Of numbers d, float or int32_t.
template <class number, int count>
TTI_CPU_INLINE void multiply_shared(number (&d)[count], box_rows a, box_rows b, int adds, TTI_CPU_PLACE) {
    const tti_cpu_place place = {"multiply_shared", file, line};
    int thread = tti_cpu_thread_number(), waiting = tti_cpu_products_less_one[thread] + 1;
    if (!tti_cpu->is_shared((const void *)a, 64 * 128 - 96) || !tti_cpu->is_shared((const void *)b, 2 * count * 128 - 96))
        tti_cpu->fail(700, "the operands are not in shared memory", place);
    if (waiting == 64) tti_cpu->fail(719, "too many products are under way", place);
    if (!adds) __builtin_memset(d, 0xff, sizeof d);
    const bool is_int8 = (number)0.5f == 0;
    tti_cpu_products[thread][waiting] = {(float *)d, count, adds, false, false, is_int8, a, b, {0, 0}, {}, nullptr, {}};
    tti_cpu_products_less_one[thread] = waiting;
}

template <int count> TTI_CPU_INLINE void multiply_shared_first(float (&d)[count], box_rows a, box_rows b, TTI_CPU_PLACE) {
    multiply_shared(d, a, b, 0, file, line);
}

struct tti_cpu_left_operand {
    const uint32_t *a;
    float rows[2][16];
};

// Every lane gets the rows of which it makes sums.
TTI_CPU_UNCHECKED static void tti_cpu_share_rows(void *const *posts, unsigned) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < 16; k++) {
                uint32_t word = ((const tti_cpu_left_operand *)posts[lane / 4 * 4 + k % 8 / 2])->a[i + k / 8 * 2];
                ((tti_cpu_left_operand *)posts[lane])->rows[i][k] = __uint_as_float(k % 2 ? word & 0xffff0000u : word << 16);
            }
}

template <int count>
TTI_CPU_INLINE void multiply_registers(float (&d)[count], const uint32_t (&a)[4], box_columns b, TTI_CPU_PLACE) {
    const tti_cpu_place place = {"multiply_registers", file, line};
    int thread = tti_cpu_thread_number();
    tti_cpu_left_operand left = {a, {}};
    tti_cpu->meet(0xffffffffu, &left, tti_cpu_share_rows, tti_cpu_aligned, place);
    int waiting = tti_cpu_products_less_one[thread] + 1;
    if (!tti_cpu->is_shared((const void *)b.first, 16 * 128)) tti_cpu->fail(700, "the operands are not in shared memory", place);
    if (waiting == 64) tti_cpu->fail(719, "too many products are under way", place);
    tti_cpu_product &product = tti_cpu_products[thread][waiting];
    product = {d, count, 1, false, true, false, 0, 0, b, {}, a, {}};
    __builtin_memcpy(product.a_rows, left.rows, sizeof left.rows);
    __builtin_memcpy(product.began_with, a, 16);
    tti_cpu_products_less_one[thread] = waiting;
}

TTI_CPU_INLINE void multiply_commit() {
    int thread = tti_cpu_thread_number(), last = tti_cpu_products_less_one[thread];
    if (last >= 0) tti_cpu_products[thread][last].is_last = true;
}

template <int left> TTI_CPU_INLINE void multiply_wait(TTI_CPU_PLACE) {
    int thread = tti_cpu_thread_number(), count = tti_cpu_products_less_one[thread] + 1, groups = 0, done = 0;
    tti_cpu_product *products = tti_cpu_products[thread];
    for (int i = 0; i < count; i++) groups += products[i].is_last;
    while (done < count && groups > left) {
        tti_cpu_multiply_shared(products[done]);
        groups -= products[done++].is_last;
    }
    for (int i = done; i < count; i++) products[i - done] = products[i];
    tti_cpu_products_less_one[thread] = count - done - 1;
    __asm__ volatile("" ::: "memory");
    tti_cpu->meet(0xffffffffu, nullptr, tti_cpu_nothing, tti_cpu_aligned, {"multiply_wait", file, line});
}
template <int left, class number, int count>
TTI_CPU_INLINE void multiply_wait(number (&)[count], TTI_CPU_PLACE) {
    multiply_wait<left>(file, line);
}
