// Embedding and pooling: rows picked by index, windows of images.

// out[i] = weight[index[i]]; a row of zeros where the index is out of bounds
template <class T> DEVICE void embedding(const T* weight, const i64* index, T* out, i64 count, i64 rows, int cols) {
    FOR_EACH(i, count * cols) {
        i64 row = index[i / cols];
        out[i] = row >= 0 && row < rows ? weight[row * cols + i % cols] : Store<T>::of(0);
    }
}

// dweight[index[i]] += g[i], in the wide type; indices equal to `padding` get nothing
template <class T> DEVICE void embedding_backward(const T* g, const i64* index, typename WideOf<T>::type* dweight, i64 count,
                                                  i64 rows, int cols, i64 padding) {
    FOR_EACH(i, count * cols) {
        i64 row = index[i / cols];
        if (row != padding && row >= 0 && row < rows) add_atomically(dweight + row * cols + i % cols, load(g[i]));
    }
}

struct Window { int h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw; };

// The largest of each window of (planes, h, w), and where in its plane it is. NaN wins; the first of equals.
template <class T> DEVICE void max_pool(const T* x, T* out, i64* places, i64 planes, Window s) {
    FOR_EACH(i, planes * s.oh * s.ow) {
        const T* plane = x + i / (s.oh * s.ow) * s.h * s.w;
        int oy = i / s.ow % s.oh, ox = i % s.ow;
        i64 best = -1;
        typename WideOf<T>::type top = 0;
        for (int ky = 0; ky < s.kh; ky++)
            for (int kx = 0; kx < s.kw; kx++) {
                int y = oy * s.sh - s.ph + ky * s.dh, z = ox * s.sw - s.pw + kx * s.dw;
                if (y < 0 || y >= s.h || z < 0 || z >= s.w) continue;
                typename WideOf<T>::type v = load(plane[y * s.w + z]);
                if (best < 0 || v > top || (v != v && top == top)) { best = (i64)y * s.w + z; top = v; }
            }
        out[i] = Store<T>::of(top);
        places[i] = best;
    }
}

// dx[place] += g in the wide type
template <class T> DEVICE void max_pool_backward(const T* g, const i64* places, typename WideOf<T>::type* dx, i64 planes,
                                                 int inside, int outside) {
    FOR_EACH(i, planes * outside) add_atomically(dx + i / outside * inside + places[i], load(g[i]));
}

#define LOOKUPS(name, T) \
KERNEL embedding_##name(const T* weight, const i64* index, T* out, i64 count, i64 rows, int cols) { \
    embedding(weight, index, out, count, rows, cols); \
} \
KERNEL embedding_backward_##name(const T* g, const i64* index, WideOf<T>::type* dweight, i64 count, i64 rows, int cols, \
                                 i64 padding) { \
    embedding_backward<T>(g, index, dweight, count, rows, cols, padding); \
} \
KERNEL max_pool_##name(const T* x, T* out, i64* places, i64 planes, int h, int w, int oh, int ow, int kh, int kw, int sh, \
                       int sw, int ph, int pw, int dh, int dw) { \
    Window s = {h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw}; \
    max_pool(x, out, places, planes, s); \
} \
KERNEL max_pool_backward_##name(const T* g, const i64* places, WideOf<T>::type* dx, i64 planes, int inside, int outside) { \
    max_pool_backward<T>(g, places, dx, planes, inside, outside); \
}
FOR_FLOATS(LOOKUPS)
