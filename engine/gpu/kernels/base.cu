// What all kernels share: element types, loops, sums over a group of threads, Philox random numbers.
// The sources are joined into one module (engine/gpu/kernels/__init__.py). No header is included, so that NVRTC needs none.

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned char u8;

struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

#ifdef EMULATED  // the tests' emulation on a CPU brings its own conversions, barriers and shuffles
#else
#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define SHARED __shared__
DEVICE float f16_to_float(unsigned short h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h)); return f; }
DEVICE unsigned short float_to_f16(float f) { unsigned short h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h; }
DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 as_bits(float f) { return __float_as_uint(f); }
DEVICE float shuffle_xor(float v, int lane) { return __shfl_xor_sync(0xffffffffu, v, lane); }
DEVICE double shuffle_xor(double v, int lane) { return __shfl_xor_sync(0xffffffffu, v, lane); }
DEVICE void barrier() { __syncthreads(); }
DEVICE void add_atomically(float* place, float v) { atomicAdd(place, v); }
DEVICE void add_atomically(double* place, double v) { atomicAdd(place, v); }
DEVICE u32 high_product(u32 a, u32 b) { return __umulhi(a, b); }
#endif

// -- element types: stored as T, computed in Wide<T> ------------------------------------------------------------------

template <class T> struct WideOf { typedef float type; };
template <> struct WideOf<double> { typedef double type; };

DEVICE float load(float v) { return v; }
DEVICE double load(double v) { return v; }
DEVICE float load(f16 v) { return f16_to_float(v.bits); }
DEVICE float load(bf16 v) { return as_float((u32)v.bits << 16); }

template <class T> struct Store;
template <> struct Store<float> { static DEVICE float of(float v) { return v; } };
template <> struct Store<double> { static DEVICE double of(double v) { return v; } };
template <> struct Store<f16> { static DEVICE f16 of(float v) { f16 r; r.bits = float_to_f16(v); return r; } };
template <> struct Store<bf16> {
    static DEVICE bf16 of(float v) {  // to the nearest, ties to even; NaN stays NaN
        u32 b = as_bits(v);
        bf16 r;
        r.bits = (b & 0x7fffffffu) > 0x7f800000u ? (unsigned short)((b >> 16) | 64u)
                                                 : (unsigned short)((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
        return r;
    }
};

#define FOR_FLOATS(X) X(f32, float) X(f64, double) X(f16, f16) X(bf16, bf16)

// -- loops ------------------------------------------------------------------------------------------------------------

DEVICE i64 thread_index() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE i64 thread_count() { return (i64)gridDim.x * blockDim.x; }
#define FOR_EACH(i, n) for (i64 i = thread_index(); i < (n); i += thread_count())

// Elements that one thread reads at a time, 16 bytes of them.
template <class T> struct alignas(16) Pack { T v[16 / sizeof(T)]; };

DEVICE bool aligned(const void* p) { return ((u64)p & 15) == 0; }

// out[i] = fn(a[i]) and out[i] = fn(a[i], b[i]), 16 bytes at a time where addresses allow.
template <class T, class F> DEVICE void map(const T* a, T* out, i64 n, F fn) {
    const int k = 16 / sizeof(T);
    i64 packs = aligned(a) && aligned(out) ? n / k : 0;
    FOR_EACH(i, packs) {
        Pack<T> x = ((const Pack<T>*)a)[i], y;
        for (int j = 0; j < k; j++) y.v[j] = Store<T>::of(fn(load(x.v[j])));
        ((Pack<T>*)out)[i] = y;
    }
    for (i64 i = packs * k + thread_index(); i < n; i += thread_count()) out[i] = Store<T>::of(fn(load(a[i])));
}

template <class T, class F> DEVICE void map(const T* a, const T* b, T* out, i64 n, F fn) {
    const int k = 16 / sizeof(T);
    i64 packs = aligned(a) && aligned(b) && aligned(out) ? n / k : 0;
    FOR_EACH(i, packs) {
        Pack<T> x = ((const Pack<T>*)a)[i], z = ((const Pack<T>*)b)[i], y;
        for (int j = 0; j < k; j++) y.v[j] = Store<T>::of(fn(load(x.v[j]), load(z.v[j])));
        ((Pack<T>*)out)[i] = y;
    }
    for (i64 i = packs * k + thread_index(); i < n; i += thread_count()) out[i] = Store<T>::of(fn(load(a[i]), load(b[i])));
}

// -- sums over a group: a warp (blockDim.y rows to a block), or a whole block of one row ------------------------------

struct Sum { template <class A> static DEVICE A of(A a, A b) { return a + b; } };
struct Max { template <class A> static DEVICE A of(A a, A b) { return a > b || a != a ? a : b; } };  // NaN wins

template <class R, class A> DEVICE A over_warp(A v) {
    for (int lane = 16; lane > 0; lane >>= 1) v = R::of(v, shuffle_xor(v, lane));
    return v;
}

// Over blockDim.x threads: 32, or up to 1024 in blocks of one row. Every thread gets the result.
template <class R, class A> DEVICE A over_row(A v, A neutral) {
    SHARED A parts[32];
    v = over_warp<R>(v);
    if (blockDim.x == 32) return v;
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    barrier();
    v = threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : neutral;
    v = over_warp<R>(v);
    barrier();
    return v;
}

DEVICE i64 row_index() { return (i64)blockIdx.x * blockDim.y + threadIdx.y; }

// -- Philox 4x32-10 (Salmon et al. 2011): four random words of a counter and a key ------------------------------------

struct Words { u32 v[4]; };

DEVICE Words philox(u64 seed, u64 offset, u64 index) {
    u32 c0 = (u32)index, c1 = (u32)(index >> 32), c2 = (u32)offset, c3 = (u32)(offset >> 32);
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u32 h0 = high_product(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        u32 h1 = high_product(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    Words w;
    w.v[0] = c0; w.v[1] = c1; w.v[2] = c2; w.v[3] = c3;
    return w;
}

DEVICE float unit(u32 w) { return (float)(w >> 8) * 5.9604644775390625e-08f; }                           // [0, 1)
DEVICE double unit(u32 a, u32 b) { return (double)((((u64)a << 32) | b) >> 11) * 1.1102230246251565e-16; }  // [0, 1)
