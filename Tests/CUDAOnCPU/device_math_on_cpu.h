// CUDA's arithmetic, conversions and small vectors for a processor; see device_on_cpu.h.
#pragma once

#define TTI_CPU_FLOATS(f)                                                                                        \
    f(expf) f(exp2f) f(exp10f) f(expm1f) f(logf) f(log2f) f(log10f) f(log1pf) f(sqrtf) f(cbrtf) f(fabsf)         \
    f(floorf) f(ceilf) f(truncf) f(rintf) f(nearbyintf) f(roundf) f(sinf) f(cosf) f(tanf) f(tanhf) f(sinhf)      \
    f(coshf) f(asinf) f(acosf) f(atanf) f(erff) f(erfcf)
#define TTI_CPU_DOUBLES(f) \
    f(exp) f(log) f(sqrt) f(fabs) f(floor) f(ceil) f(trunc) f(rint) f(round) f(sin) f(cos) f(tanh) f(erf)
#define TTI_CPU_FLOAT(name) extern "C" float name(float) noexcept;
#define TTI_CPU_DOUBLE(name) extern "C" double name(double) noexcept;
TTI_CPU_FLOATS(TTI_CPU_FLOAT)
TTI_CPU_DOUBLES(TTI_CPU_DOUBLE)
extern "C" float fmaf(float, float, float) noexcept;
extern "C" float fmaxf(float, float) noexcept;
extern "C" float fminf(float, float) noexcept;
extern "C" float fmodf(float, float) noexcept;
extern "C" float powf(float, float) noexcept;
extern "C" float atan2f(float, float) noexcept;
extern "C" float copysignf(float, float) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" double fma(double, double, double) noexcept;
extern "C" double fmax(double, double) noexcept;
extern "C" double fmin(double, double) noexcept;
extern "C" double pow(double, double) noexcept;
extern "C" int abs(int) noexcept;
extern "C" int printf(const char *, ...);

// MARK: Bits

template <class To, class From> TTI_CPU_INLINE To tti_cpu_same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}

TTI_CPU_INLINE float __uint_as_float(unsigned x) { return tti_cpu_same_bits<float>(x); }
TTI_CPU_INLINE unsigned __float_as_uint(float x) { return tti_cpu_same_bits<unsigned>(x); }
TTI_CPU_INLINE float __int_as_float(int x) { return tti_cpu_same_bits<float>(x); }
TTI_CPU_INLINE int __float_as_int(float x) { return tti_cpu_same_bits<int>(x); }
TTI_CPU_INLINE double __longlong_as_double(long long x) { return tti_cpu_same_bits<double>(x); }
TTI_CPU_INLINE long long __double_as_longlong(double x) { return tti_cpu_same_bits<long long>(x); }

TTI_CPU_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
TTI_CPU_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
TTI_CPU_INLINE int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
TTI_CPU_INLINE int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)x); }
TTI_CPU_INLINE int __ffs(int x) { return __builtin_ffs(x); }
TTI_CPU_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
TTI_CPU_INLINE unsigned __brev(unsigned x) { return __builtin_bitreverse32(x); }
TTI_CPU_INLINE unsigned long long __brevll(unsigned long long x) { return __builtin_bitreverse64(x); }
TTI_CPU_INLINE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
TTI_CPU_INLINE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
TTI_CPU_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
TTI_CPU_INLINE int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }

// The bytes of a (0…3) and b (4…7) that the four low digits of `selector` name; with the digit's top bit, its sign.
TTI_CPU_INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    unsigned long long all = (unsigned long long)b << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned digit = selector >> (4 * i), byte = (unsigned)(all >> (8 * (digit & 7))) & 0xff;
        if (digit & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << (8 * i);
    }
    return result;
}
TTI_CPU_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return (unsigned)((((unsigned long long)high << 32 | low) << (by & 31)) >> 32);
}
TTI_CPU_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((unsigned long long)high << 32 | low) >> (by & 31));
}

TTI_CPU_INLINE int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; i++) sum += (int)(signed char)(a >> (8 * i)) * (signed char)(b >> (8 * i));
    return sum;
}
TTI_CPU_INLINE unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
    for (int i = 0; i < 4; i++) sum += (a >> (8 * i) & 0xff) * (b >> (8 * i) & 0xff);
    return sum;
}

// MARK: Arithmetic

TTI_CPU_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
TTI_CPU_INLINE float __frsqrt_rn(float x) { return (float)(1.0 / sqrt((double)x)); }
TTI_CPU_INLINE float __frcp_rn(float x) { return 1.0f / x; }
TTI_CPU_INLINE float __fsqrt_rn(float x) { return sqrtf(x); }
TTI_CPU_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
TTI_CPU_INLINE float __fadd_rn(float a, float b) {
#pragma clang fp contract(off)
    return a + b;
}
TTI_CPU_INLINE float __fsub_rn(float a, float b) {
#pragma clang fp contract(off)
    return a - b;
}
TTI_CPU_INLINE float __fmul_rn(float a, float b) {
#pragma clang fp contract(off)
    return a * b;
}
TTI_CPU_INLINE float __fdiv_rn(float a, float b) { return a / b; }

// The fast functions as the GPU makes them, with powers and logarithms of 2; their last bits differ from the GPU's.
TTI_CPU_INLINE float __expf(float x) { return exp2f(__fmul_rn(x, 1.4426950408889634f)); }
TTI_CPU_INLINE float __exp10f(float x) { return exp2f(__fmul_rn(x, 3.3219280948873623f)); }
TTI_CPU_INLINE float __logf(float x) { return log2f(x) * 0.6931471805599453f; }
TTI_CPU_INLINE float __log2f(float x) { return log2f(x); }
TTI_CPU_INLINE float __log10f(float x) { return log2f(x) * 0.3010299956639812f; }
TTI_CPU_INLINE float __powf(float x, float y) { return exp2f(y * log2f(x)); }
TTI_CPU_INLINE float __sinf(float x) { return sinf(x); }
TTI_CPU_INLINE float __cosf(float x) { return cosf(x); }
TTI_CPU_INLINE float __tanf(float x) { return tanf(x); }
TTI_CPU_INLINE void __sincosf(float x, float *s, float *c) { *s = sinf(x), *c = cosf(x); }
TTI_CPU_INLINE void sincosf(float x, float *s, float *c) { *s = sinf(x), *c = cosf(x); }
TTI_CPU_INLINE float __fdividef(float a, float b) {
    float size = __builtin_fabsf(b);
    if (size > 0x1p126f && size < __builtin_inff()) return __builtin_isinf(a) ? __builtin_nanf("") : 0.0f * a;
    return a / b;
}
TTI_CPU_INLINE float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
TTI_CPU_INLINE float fdividef(float a, float b) { return a / b; }
TTI_CPU_INLINE float normcdff(float x) { return 0.5f * erfcf(x * -0.70710678118654752f); }

template <class T> TTI_CPU_INLINE bool isnan(T x) { return __builtin_isnan(x); }
template <class T> TTI_CPU_INLINE bool isinf(T x) { return __builtin_isinf(x); }
template <class T> TTI_CPU_INLINE bool isfinite(T x) { return __builtin_isfinite(x); }

// MARK: Conversions: to integers they stop at the ends, and not-a-number is 0

template <class To> TTI_CPU_INLINE To tti_cpu_to_integer(float x, To least, To most) {
    if (__builtin_isnan(x)) return 0;
    if (x <= (float)least) return least;
    if (x >= (float)most) return most;
    return (To)x;
}
TTI_CPU_INLINE int tti_cpu_to_int(float x) { return tti_cpu_to_integer<int>(x, -0x7fffffff - 1, 0x7fffffff); }
TTI_CPU_INLINE unsigned tti_cpu_to_unsigned(float x) { return tti_cpu_to_integer<unsigned>(x, 0, 0xffffffffu); }
TTI_CPU_INLINE int __float2int_rn(float x) { return tti_cpu_to_int(rintf(x)); }
TTI_CPU_INLINE int __float2int_rz(float x) { return tti_cpu_to_int(truncf(x)); }
TTI_CPU_INLINE int __float2int_rd(float x) { return tti_cpu_to_int(floorf(x)); }
TTI_CPU_INLINE int __float2int_ru(float x) { return tti_cpu_to_int(ceilf(x)); }
TTI_CPU_INLINE unsigned __float2uint_rn(float x) { return tti_cpu_to_unsigned(rintf(x)); }
TTI_CPU_INLINE unsigned __float2uint_rz(float x) { return tti_cpu_to_unsigned(truncf(x)); }
TTI_CPU_INLINE unsigned __float2uint_rd(float x) { return tti_cpu_to_unsigned(floorf(x)); }
TTI_CPU_INLINE float __int2float_rn(int x) { return (float)x; }
TTI_CPU_INLINE float __uint2float_rn(unsigned x) { return (float)x; }
TTI_CPU_INLINE float __ll2float_rn(long long x) { return (float)x; }

#define TTI_CPU_ORDER(a, b, type)                                                  \
    TTI_CPU_INLINE type min(a x, b y) { return (type)x < (type)y ? (type)x : (type)y; } \
    TTI_CPU_INLINE type max(a x, b y) { return (type)x > (type)y ? (type)x : (type)y; }
TTI_CPU_ORDER(int, int, int)
TTI_CPU_ORDER(unsigned, unsigned, unsigned)
TTI_CPU_ORDER(int, unsigned, unsigned)
TTI_CPU_ORDER(unsigned, int, unsigned)
TTI_CPU_ORDER(long, long, long)
TTI_CPU_ORDER(unsigned long, unsigned long, unsigned long)
TTI_CPU_ORDER(long long, long long, long long)
TTI_CPU_ORDER(unsigned long long, unsigned long long, unsigned long long)
TTI_CPU_INLINE float min(float a, float b) { return fminf(a, b); }
TTI_CPU_INLINE float max(float a, float b) { return fmaxf(a, b); }
TTI_CPU_INLINE double min(double a, double b) { return fmin(a, b); }
TTI_CPU_INLINE double max(double a, double b) { return fmax(a, b); }
TTI_CPU_INLINE long abs(long x) { return x < 0 ? -x : x; }
TTI_CPU_INLINE long long abs(long long x) { return x < 0 ? -x : x; }
TTI_CPU_INLINE float abs(float x) { return __builtin_fabsf(x); }

// MARK: Vectors

#define TTI_CPU_VECTORS(type, name, align4)                                                                       \
    struct __align__(2 * sizeof(type)) name##2 {                                                                  \
        type x, y;                                                                                                \
    };                                                                                                            \
    struct name##3 {                                                                                              \
        type x, y, z;                                                                                             \
    };                                                                                                            \
    struct __align__(align4) name##4 {                                                                            \
        type x, y, z, w;                                                                                          \
    };                                                                                                            \
    TTI_CPU_INLINE name##2 make_##name##2(type x, type y) { return {x, y}; }                                      \
    TTI_CPU_INLINE name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                           \
    TTI_CPU_INLINE name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
TTI_CPU_VECTORS(float, float, 16)
TTI_CPU_VECTORS(int, int, 16)
TTI_CPU_VECTORS(unsigned, uint, 16)
TTI_CPU_VECTORS(short, short, 8)
TTI_CPU_VECTORS(unsigned short, ushort, 8)
TTI_CPU_VECTORS(signed char, char, 4)
TTI_CPU_VECTORS(unsigned char, uchar, 4)
TTI_CPU_VECTORS(double, double, 16)

template <class T> TTI_CPU_ACCESS T __ldg(const T *address) { return *address; }
template <class T> TTI_CPU_ACCESS T __ldcg(const T *address) { return *address; }
template <class T> TTI_CPU_ACCESS T __ldcs(const T *address) { return *address; }
template <class T> TTI_CPU_ACCESS T __ldca(const T *address) { return *address; }
template <class T> TTI_CPU_ACCESS void __stcg(T *address, T value) { *address = value; }
template <class T> TTI_CPU_ACCESS void __stcs(T *address, T value) { *address = value; }
TTI_CPU_INLINE unsigned long long __cvta_generic_to_shared(const void *address) { return (unsigned long long)address; }
TTI_CPU_INLINE long long clock64() { return (long long)__builtin_readcyclecounter(); }
TTI_CPU_INLINE int clock() { return (int)__builtin_readcyclecounter(); }
