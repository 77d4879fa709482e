// rms_norm over rows, and group_norm, whose rows are the groups of channels of every sample.

// y = x * rstd * weight; rstd is kept in the wide type, weight may be null
template <class T> DEVICE void rms_norm_rows(const T* x, const T* weight, T* out, typename WideOf<T>::type* rstd, i64 rows,
                                             int cols, double eps) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols; out += row * cols;
    A squares = 0;
    if (inside) COLUMNS(c) squares += (A)load(x[c]) * (A)load(x[c]);
    A r = A(1) / root(over_row<Sum>(squares, A(0)) / A(cols) + (A)eps);
    if (!inside) return;
    if (threadIdx.x == 0) rstd[row] = r;
    COLUMNS(c) out[c] = Store<T>::of(weight ? (A)load(x[c]) * r * (A)load(weight[c]) : (A)load(x[c]) * r);
}

// dx = rstd (h - z mean(h z)) with h = g weight and z = x rstd
template <class T> DEVICE void rms_norm_rows_backward(const T* g, const T* x, const T* weight,
                                                      const typename WideOf<T>::type* rstd, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    g += row * cols; x += row * cols; out += row * cols;
    A r = inside ? rstd[row] : A(0), total = 0;
    if (inside) COLUMNS(c) total += (A)load(g[c]) * (weight ? (A)load(weight[c]) : A(1)) * (A)load(x[c]) * r;
    total = over_row<Sum>(total, A(0)) / A(cols);
    if (!inside) return;
    COLUMNS(c) out[c] = Store<T>::of(r * ((A)load(g[c]) * (weight ? (A)load(weight[c]) : A(1)) - (A)load(x[c]) * r * total));
}

// Row n * groups + k holds `cols` elements: cols / inner channels of `inner` elements each.
DEVICE i64 channel_of(i64 row, int c, int groups, int cols, int inner) { return row % groups * (cols / inner) + c / inner; }

template <class T> DEVICE void group_norm_rows(const T* x, const T* weight, const T* bias, T* out,
                                               typename WideOf<T>::type* mean, typename WideOf<T>::type* rstd, i64 rows,
                                               int cols, int groups, int inner, double eps) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols; out += row * cols;
    A total = 0, squares = 0;
    if (inside) COLUMNS(c) total += (A)load(x[c]);
    A m = over_row<Sum>(total, A(0)) / A(cols);
    if (inside) COLUMNS(c) { A d = (A)load(x[c]) - m; squares += d * d; }
    A r = A(1) / root(over_row<Sum>(squares, A(0)) / A(cols) + (A)eps);
    if (!inside) return;
    if (threadIdx.x == 0) { mean[row] = m; rstd[row] = r; }
    COLUMNS(c) {
        i64 channel = channel_of(row, c, groups, cols, inner);
        A y = ((A)load(x[c]) - m) * r;
        if (weight) y *= (A)load(weight[channel]);
        if (bias) y += (A)load(bias[channel]);
        out[c] = Store<T>::of(y);
    }
}

// As layer_norm's, with the weight of an element's channel.
template <class T> DEVICE void group_norm_rows_backward(const T* g, const T* x, const T* weight,
                                                        const typename WideOf<T>::type* mean,
                                                        const typename WideOf<T>::type* rstd, T* out, i64 rows, int cols,
                                                        int groups, int inner) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    g += row * cols; x += row * cols; out += row * cols;
    A m = inside ? mean[row] : A(0), r = inside ? rstd[row] : A(0), first = 0, second = 0;
    if (inside) COLUMNS(c) {
        A h = weight ? (A)load(g[c]) * (A)load(weight[channel_of(row, c, groups, cols, inner)]) : (A)load(g[c]);
        first += h;
        second += h * ((A)load(x[c]) - m) * r;
    }
    first = over_row<Sum>(first, A(0)) / A(cols);
    second = over_row<Sum>(second, A(0)) / A(cols);
    if (!inside) return;
    COLUMNS(c) {
        A h = weight ? (A)load(g[c]) * (A)load(weight[channel_of(row, c, groups, cols, inner)]) : (A)load(g[c]);
        out[c] = Store<T>::of(r * (h - first - ((A)load(x[c]) - m) * r * second));
    }
}

// The sums that weight and bias get, one block to a channel.
template <class T> DEVICE void group_norm_channels(const T* g, const T* x, const typename WideOf<T>::type* mean,
                                                   const typename WideOf<T>::type* rstd, T* dweight, T* dbias, i64 samples,
                                                   int channels, int groups, int inner) {
    typedef typename WideOf<T>::type A;
    int channel = blockIdx.x;
    A w = 0, b = 0;
    for (i64 i = threadIdx.x; i < samples * inner; i += blockDim.x) {
        i64 sample = i / inner, row = sample * groups + channel / (channels / groups), at = (sample * channels + channel) * inner + i % inner;
        A d = load(g[at]);
        b += d;
        w += d * ((A)load(x[at]) - mean[row]) * rstd[row];
    }
    w = over_row<Sum>(w, A(0));
    b = over_row<Sum>(b, A(0));
    if (threadIdx.x) return;
    if (dweight) dweight[channel] = Store<T>::of(w);
    if (dbias) dbias[channel] = Store<T>::of(b);
}

#define NORMS(name, T) \
KERNEL rms_norm_##name(const T* x, const T* weight, T* out, WideOf<T>::type* rstd, i64 rows, int cols, double eps) { \
    rms_norm_rows<T>(x, weight, out, rstd, rows, cols, eps); \
} \
KERNEL rms_norm_backward_##name(const T* g, const T* x, const T* weight, const WideOf<T>::type* rstd, T* out, i64 rows, \
                                int cols) { \
    rms_norm_rows_backward<T>(g, x, weight, rstd, out, rows, cols); \
} \
KERNEL group_norm_##name(const T* x, const T* weight, const T* bias, T* out, WideOf<T>::type* mean, WideOf<T>::type* rstd, \
                         i64 rows, int cols, int groups, int inner, double eps) { \
    group_norm_rows<T>(x, weight, bias, out, mean, rstd, rows, cols, groups, inner, eps); \
} \
KERNEL group_norm_backward_##name(const T* g, const T* x, const T* weight, const WideOf<T>::type* mean, \
                                  const WideOf<T>::type* rstd, T* out, i64 rows, int cols, int groups, int inner) { \
    group_norm_rows_backward<T>(g, x, weight, mean, rstd, out, rows, cols, groups, inner); \
} \
KERNEL group_norm_channels_##name(const T* g, const T* x, const WideOf<T>::type* mean, const WideOf<T>::type* rstd, T* dweight, \
                                  T* dbias, i64 samples, int channels, int groups, int inner) { \
    group_norm_channels<T>(g, x, mean, rstd, dweight, dbias, samples, channels, groups, inner); \
}
FOR_FLOATS(NORMS)
