// Windows of images besides max pooling (lookup.cu): average pooling, adaptive average pooling, resampling by taps.
// Arrays are (planes, height, width).

// The sum of each window over `divisor`, or over by[y][x]
template <class T> DEVICE void avg_pool(const T* x, T* out, const typename WideOf<T>::type* by, i64 planes, Window s, double divisor) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * s.oh * s.ow) {
        const T* plane = x + i / (s.oh * s.ow) * s.h * s.w;
        int oy = i / s.ow % s.oh, ox = i % s.ow;
        A total = 0;
        for (int ky = 0; ky < s.kh; ky++)
            for (int kx = 0; kx < s.kw; kx++) {
                int y = oy * s.sh - s.ph + ky, z = ox * s.sw - s.pw + kx;
                if (y >= 0 && y < s.h && z >= 0 && z < s.w) total += (A)load(plane[y * s.w + z]);
            }
        out[i] = Store<T>::of(total / (by ? by[oy * s.ow + ox] : (A)divisor));
    }
}

// Each element gets its share of the gradients of all windows that hold it.
template <class T> DEVICE void avg_pool_backward(const T* g, T* dx, const typename WideOf<T>::type* by, i64 planes, Window s,
                                                 double divisor) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * s.h * s.w) {
        const T* plane = g + i / (s.h * s.w) * s.oh * s.ow;
        int y = i / s.w % s.h + s.ph, z = i % s.w + s.pw;
        int y0 = y < s.kh ? 0 : (y - s.kh) / s.sh + 1, z0 = z < s.kw ? 0 : (z - s.kw) / s.sw + 1;
        A total = 0;
        for (int oy = y0; oy < s.oh && oy * s.sh <= y; oy++)
            for (int ox = z0; ox < s.ow && ox * s.sw <= z; ox++)
                total += (A)load(plane[oy * s.ow + ox]) / (by ? by[oy * s.ow + ox] : (A)divisor);
        dx[i] = Store<T>::of(total);
    }
}

// Of m windows over n elements, number j reaches from floor(j n / m) to ceil((j + 1) n / m).
DEVICE int window_from(int j, int n, int m) { return (int)((i64)j * n / m); }
DEVICE int window_to(int j, int n, int m) { return (int)(((i64)(j + 1) * n + m - 1) / m); }

template <class T> DEVICE void adaptive_avg_pool(const T* x, T* out, i64 planes, int h, int w, int oh, int ow) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * oh * ow) {
        const T* plane = x + i / (oh * ow) * h * w;
        int oy = i / ow % oh, ox = i % ow;
        int y0 = window_from(oy, h, oh), y1 = window_to(oy, h, oh), x0 = window_from(ox, w, ow), x1 = window_to(ox, w, ow);
        A total = 0;
        for (int y = y0; y < y1; y++)
            for (int z = x0; z < x1; z++) total += (A)load(plane[y * w + z]);
        out[i] = Store<T>::of(total / A((y1 - y0) * (x1 - x0)));
    }
}

template <class T> DEVICE void adaptive_avg_pool_backward(const T* g, T* dx, i64 planes, int h, int w, int oh, int ow) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * h * w) {
        const T* plane = g + i / (h * w) * oh * ow;
        int y = i / w % h, z = i % w;
        A total = 0;
        for (int oy = window_from(y, oh, h); oy < oh && window_from(oy, h, oh) <= y; oy++)
            for (int ox = window_from(z, ow, w); ox < ow && window_from(ox, w, ow) <= z; ox++) {
                int high = window_to(oy, h, oh), right = window_to(ox, w, ow);
                if (y < high && z < right)
                    total += (A)load(plane[oy * ow + ox]) / A((high - window_from(oy, h, oh)) * (right - window_from(ox, w, ow)));
            }
        dx[i] = Store<T>::of(total);
    }
}

// Weighted sums of `ty` x `tx` taps: rows[oy][t] and columns[ox][t] say where they are, with their weights.
struct Taps { int h, w, oh, ow, ty, tx; };

template <class T> DEVICE void resample(const T* x, T* out, const i64* rows, const typename WideOf<T>::type* row_weights,
                                        const i64* columns, const typename WideOf<T>::type* column_weights, i64 planes, Taps s) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * s.oh * s.ow) {
        const T* plane = x + i / (s.oh * s.ow) * s.h * s.w;
        int oy = i / s.ow % s.oh, ox = i % s.ow;
        A total = 0;
        for (int a = 0; a < s.ty; a++) {
            A line = 0;
            for (int b = 0; b < s.tx; b++)
                line += (A)load(plane[rows[oy * s.ty + a] * s.w + columns[ox * s.tx + b]]) * column_weights[ox * s.tx + b];
            total += line * row_weights[oy * s.ty + a];
        }
        out[i] = Store<T>::of(total);
    }
}

// dx, in the wide type and zero at first, gets every gradient at its taps.
template <class T> DEVICE void resample_backward(const T* g, typename WideOf<T>::type* dx, const i64* rows,
                                                 const typename WideOf<T>::type* row_weights, const i64* columns,
                                                 const typename WideOf<T>::type* column_weights, i64 planes, Taps s) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, planes * s.oh * s.ow) {
        A* plane = dx + i / (s.oh * s.ow) * s.h * s.w;
        int oy = i / s.ow % s.oh, ox = i % s.ow;
        A d = load(g[i]);
        for (int a = 0; a < s.ty; a++)
            for (int b = 0; b < s.tx; b++)
                add_atomically(plane + rows[oy * s.ty + a] * s.w + columns[ox * s.tx + b],
                               d * row_weights[oy * s.ty + a] * column_weights[ox * s.tx + b]);
    }
}

#define IMAGES(name, T) \
KERNEL avg_pool_##name(const T* x, T* out, const WideOf<T>::type* by, i64 planes, int h, int w, int oh, int ow, int kh, int kw, \
                       int sh, int sw, int ph, int pw, double divisor) { \
    Window s = {h, w, oh, ow, kh, kw, sh, sw, ph, pw, 1, 1}; \
    avg_pool<T>(x, out, by, planes, s, divisor); \
} \
KERNEL avg_pool_backward_##name(const T* g, T* dx, const WideOf<T>::type* by, i64 planes, int h, int w, int oh, int ow, int kh, \
                                int kw, int sh, int sw, int ph, int pw, double divisor) { \
    Window s = {h, w, oh, ow, kh, kw, sh, sw, ph, pw, 1, 1}; \
    avg_pool_backward<T>(g, dx, by, planes, s, divisor); \
} \
KERNEL adaptive_avg_pool_##name(const T* x, T* out, i64 planes, int h, int w, int oh, int ow) { \
    adaptive_avg_pool<T>(x, out, planes, h, w, oh, ow); \
} \
KERNEL adaptive_avg_pool_backward_##name(const T* g, T* dx, i64 planes, int h, int w, int oh, int ow) { \
    adaptive_avg_pool_backward<T>(g, dx, planes, h, w, oh, ow); \
} \
KERNEL resample_##name(const T* x, T* out, const i64* rows, const WideOf<T>::type* row_weights, const i64* columns, \
                       const WideOf<T>::type* column_weights, i64 planes, int h, int w, int oh, int ow, int ty, int tx) { \
    Taps s = {h, w, oh, ow, ty, tx}; \
    resample<T>(x, out, rows, row_weights, columns, column_weights, planes, s); \
} \
KERNEL resample_backward_##name(const T* g, WideOf<T>::type* dx, const i64* rows, const WideOf<T>::type* row_weights, \
                                const i64* columns, const WideOf<T>::type* column_weights, i64 planes, int h, int w, int oh, \
                                int ow, int ty, int tx) { \
    Taps s = {h, w, oh, ow, ty, tx}; \
    resample_backward<T>(g, dx, rows, row_weights, columns, column_weights, planes, s); \
}
FOR_FLOATS(IMAGES)
