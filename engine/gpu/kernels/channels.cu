// Batch normalisation: sums by channel, then one pass over the elements. Arrays are (N, C, L), L elements of a channel in one
// piece ("rows"), or (N, C) with the channels innermost ("columns", where N counts the positions of all images).

// -- what is summed ---------------------------------------------------------------------------------------------------

// Mean and squared distances from it. A thread counts from its own first element, so that large means cost no digits; `close`
// then makes (count, mean, squares), which are put together by Chan, Golub and LeVeque 1983.
template <class A> struct Moments {
    A n, mean, sum, square;
    DEVICE void clear() { n = 0; mean = 0; sum = 0; square = 0; }
    DEVICE void take(A v, A) {
        if (n == 0) mean = v;
        A d = v - mean;
        n += 1; sum += d; square += d * d;
    }
    DEVICE void close() {
        if (n == 0) return;
        A m = sum / n;
        square -= sum * m; mean += m; sum = 0;
    }
    static DEVICE Moments of(Moments a, Moments b) {
        if (b.n == 0) return a;
        A d = b.mean - a.mean, share = b.n / (a.n + b.n);
        a.square += b.square + d * d * a.n * share;
        a.mean += d * share; a.n += b.n;
        return a;
    }
    DEVICE void put(A* out) const { out[0] = n; out[1] = mean; out[2] = square; }
    DEVICE void get(const A* in) { n = in[0]; mean = in[1]; sum = 0; square = in[2]; }
};

// Gradients, and gradients times centred inputs.
template <class A> struct Products {
    A sum, product;
    DEVICE void clear() { sum = 0; product = 0; }
    DEVICE void take(A g, A x) { sum += g; product += g * x; }
    DEVICE void close() {}
    static DEVICE Products of(Products a, Products b) { a.sum += b.sum; a.product += b.product; return a; }
    DEVICE void put(A* out) const { out[0] = sum; out[1] = product; out[2] = 0; }
    DEVICE void get(const A* in) { sum = in[0]; product = in[1]; }
};

template <class A> DEVICE Moments<A> shuffle_xor(Moments<A> v, int lane) {
    v.n = shuffle_xor(v.n, lane); v.mean = shuffle_xor(v.mean, lane); v.square = shuffle_xor(v.square, lane);
    return v;
}
template <class A> DEVICE Products<A> shuffle_xor(Products<A> v, int lane) {
    v.sum = shuffle_xor(v.sum, lane); v.product = shuffle_xor(v.product, lane);
    return v;
}

template <class T, int K> struct alignas(K * sizeof(T)) Piece { T v[K]; };

// -- sums of parts: parts[blockIdx.y][channel][3] ---------------------------------------------------------------------

// A block for one channel (x) and a share of its elements (y). `b` and `mean` may be missing.
template <class S, int K, class T, class A> DEVICE void sum_rows(const T* a, const T* b, const A* mean, A* parts, u32 images,
                                                                 u32 channels, u32 length) {
    u32 c = blockIdx.x, pieces = length / K;
    A centre = mean ? mean[c] : A(0);
    S state;
    state.clear();
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < images * pieces; i += gridDim.y * blockDim.x) {
        u64 at = (u64)(i / pieces * channels + c) * pieces + i % pieces;
        Piece<T, K> p = ((const Piece<T, K>*)a)[at], q = b ? ((const Piece<T, K>*)b)[at] : p;
        for (int k = 0; k < K; k++) state.take(load(p.v[k]), load(q.v[k]) - centre);
    }
    state.close();
    S none;
    none.clear();
    state = over_row<S>(state, none);
    if (threadIdx.x == 0) state.put(parts + 3 * ((u64)blockIdx.y * channels + c));
}

// Threads side by side for as many pieces of a position as fit (x), the others below each other (y).
template <class S, int K, class T, class A> DEVICE void sum_columns(const T* a, const T* b, const A* mean, A* parts, u32 positions,
                                                                    u32 channels) {
    SHARED S box[256];
    u32 pieces = channels / K, width = pieces < blockDim.x ? pieces : blockDim.x, height = blockDim.x / width;
    u32 piece = blockIdx.x * width + threadIdx.x % width, row = threadIdx.x / width;
    bool works = row < height && piece < pieces;
    S state[K];
    for (int k = 0; k < K; k++) state[k].clear();
    for (u32 i = blockIdx.y * height + row; works && i < positions; i += gridDim.y * height) {
        u64 at = (u64)i * pieces + piece;
        Piece<T, K> p = ((const Piece<T, K>*)a)[at], q = b ? ((const Piece<T, K>*)b)[at] : p;
        for (int k = 0; k < K; k++) state[k].take(load(p.v[k]), load(q.v[k]) - (mean ? mean[piece * K + k] : A(0)));
    }
    for (int k = 0; k < K; k++) {
        state[k].close();
        box[threadIdx.x] = state[k];
        barrier();
        if (row == 0 && works) {
            S total = box[threadIdx.x];
            for (u32 r = 1; r < height; r++) total = S::of(total, box[r * width + threadIdx.x]);
            total.put(parts + 3 * ((u64)blockIdx.y * channels + piece * K + k));
        }
        barrier();
    }
}

template <template <class> class S, class T, class A> DEVICE void sum_by_channel(const T* a, const T* b, const A* mean, A* parts,
                                                                                 u32 images, u32 channels, u32 length, int packed) {
    const int k = 16 / sizeof(T);
    if (length == 1 && packed) sum_columns<S<A>, k>(a, b, mean, parts, images, channels);
    else if (length == 1) sum_columns<S<A>, 1>(a, b, mean, parts, images, channels);
    else if (packed) sum_rows<S<A>, k>(a, b, mean, parts, images, channels, length);
    else sum_rows<S<A>, 1>(a, b, mean, parts, images, channels, length);
}

// The sums of a channel's parts, by the warp that a row of threads is.
template <class S, class A> DEVICE S total_of(const A* parts, i64 channel, i64 channels, int shares) {
    S state, one;
    state.clear();
    for (int i = threadIdx.x; i < shares; i += 32) {
        one.get(parts + 3 * (i * channels + channel));
        state = S::of(state, one);
    }
    return over_warp<S>(state);
}

#define CHANNEL_SUMS(S, T) \
    KERNEL channel_moments_##S(const T* x, WideOf<T>::type* parts, u32 images, u32 channels, u32 length, int packed) { \
        sum_by_channel<Moments>(x, (const T*)0, (const WideOf<T>::type*)0, parts, images, channels, length, packed); \
    } \
    KERNEL channel_products_##S(const T* g, const T* x, const WideOf<T>::type* mean, WideOf<T>::type* parts, \
                                u32 images, u32 channels, u32 length, int packed) { \
        sum_by_channel<Products>(g, x, mean, parts, images, channels, length, packed); \
    }
FOR_FLOATS(CHANNEL_SUMS)

#define CHANNEL_TOTALS(S, A) \
    KERNEL channel_statistics_##S(const A* parts, A* mean, A* rstd, A* unbiased, A* running_mean, A* running_var, \
                                  i64 channels, int shares, double eps, double momentum) { \
        i64 c = row_index(); \
        if (c >= channels) return; \
        Moments<A> m = total_of<Moments<A>>(parts, c, channels, shares); \
        if (threadIdx.x) return; \
        A rest = m.n > 1 ? m.n - 1 : A(1), var = m.square / rest, step = (A)momentum; \
        mean[c] = m.mean; rstd[c] = A(1) / (A)sqrt((double)(m.square / m.n) + eps); unbiased[c] = var; \
        if (running_mean) running_mean[c] += step * (m.mean - running_mean[c]); \
        if (running_var) running_var[c] += step * (var - running_var[c]); \
    } \
    KERNEL channel_gradients_##S(const A* parts, const A* rstd, A* dw, A* db, i64 channels, int shares) { \
        i64 c = row_index(); \
        if (c >= channels) return; \
        Products<A> p = total_of<Products<A>>(parts, c, channels, shares); \
        if (threadIdx.x) return; \
        db[c] = p.sum; \
        if (dw) dw[c] = p.product * rstd[c]; \
    } \
    KERNEL channel_rstd_##S(const A* var, A* rstd, i64 channels, double eps) { \
        FOR_EACH(c, channels) rstd[c] = A(1) / (A)sqrt((double)var[c] + eps); \
    }
CHANNEL_TOTALS(f32, float)
CHANNEL_TOTALS(f64, double)

// -- elements ---------------------------------------------------------------------------------------------------------

// out = fn(a, b, channel), K elements at a time.
template <int K, class T, class F> DEVICE void by_channel(const T* a, const T* b, T* out, i64 count, u32 channels, u32 length, F fn) {
    u32 row = length == 1 ? channels / K : length / K;
    FOR_EACH(i, count / K) {
        u32 at = (u32)i, first = length == 1 ? at % row * K : at / row % channels;
        Piece<T, K> p = ((const Piece<T, K>*)a)[i], q = ((const Piece<T, K>*)b)[i], r;
        for (int k = 0; k < K; k++) r.v[k] = Store<T>::of(fn(load(p.v[k]), load(q.v[k]), length == 1 ? first + k : first));
        ((Piece<T, K>*)out)[i] = r;
    }
}

template <class T, class F> DEVICE void each_by_channel(const T* a, const T* b, T* out, i64 count, u32 channels, u32 length,
                                                        int packed, F fn) {
    if (packed) by_channel<16 / sizeof(T)>(a, b, out, count, channels, length, fn);
    else by_channel<1>(a, b, out, count, channels, length, fn);
}

#define CHANNEL_ELEMENTS(S, T) \
    KERNEL channel_normalise_##S(const T* x, const WideOf<T>::type* mean, const WideOf<T>::type* rstd, \
                                 const WideOf<T>::type* w, const WideOf<T>::type* b, T* out, i64 count, \
                                 u32 channels, u32 length, int packed) { \
        typedef WideOf<T>::type A; \
        each_by_channel(x, x, out, count, channels, length, packed, [=](A v, A, u32 c) { \
            A z = (v - mean[c]) * rstd[c]; \
            return (w ? z * w[c] : z) + (b ? b[c] : A(0)); \
        }); \
    } \
    KERNEL channel_backward_##S(const T* g, const T* x, const WideOf<T>::type* mean, const WideOf<T>::type* rstd, \
                                const WideOf<T>::type* w, const WideOf<T>::type* dw, \
                                const WideOf<T>::type* db, T* out, i64 count, u32 channels, u32 length, int packed, \
                                double share) { \
        typedef WideOf<T>::type A; \
        A part = (A)share; \
        each_by_channel(g, x, out, count, channels, length, packed, [=](A d, A v, u32 c) { \
            A scale = w ? w[c] * rstd[c] : rstd[c]; \
            return scale * (part == 0 ? d : d - part * (db[c] + (v - mean[c]) * rstd[c] * dw[c])); \
        }); \
    }
FOR_FLOATS(CHANNEL_ELEMENTS)
