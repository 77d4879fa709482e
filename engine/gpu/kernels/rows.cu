// Operators on the rows of a matrix, one warp or one block to a row: softmax, log_softmax, cross entropy, layer norm.
// Blocks are (32, rows) or (threads, 1); `cols` elements of a row lie one after the other.

#define COLUMNS(c) for (int c = threadIdx.x; c < cols; c += blockDim.x)

template <class T, bool LOG> DEVICE void softmax_rows(const T* x, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols; out += row * cols;
    A top = A(-1) / A(0), total = 0;
    if (inside) COLUMNS(c) top = Max::of(top, (A)load(x[c]));
    top = over_row<Max>(top, A(-1) / A(0));
    if (inside) COLUMNS(c) total += power_e((A)load(x[c]) - top);
    total = over_row<Sum>(total, A(0));
    if (!inside) return;
    A log_total = log_e(total);
    COLUMNS(c) {
        A z = (A)load(x[c]) - top;
        out[c] = Store<T>::of(LOG ? z - log_total : power_e(z) / total);
    }
}

// dx = (g - sum(g y)) y, or for the logarithm g - exp(y) sum(g)
template <class T, bool LOG> DEVICE void softmax_rows_backward(const T* g, const T* y, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    g += row * cols; y += row * cols; out += row * cols;
    A total = 0;
    if (inside) COLUMNS(c) total += LOG ? (A)load(g[c]) : (A)load(g[c]) * (A)load(y[c]);
    total = over_row<Sum>(total, A(0));
    if (!inside) return;
    COLUMNS(c) {
        A d = load(g[c]), v = load(y[c]);
        out[c] = Store<T>::of(LOG ? d - power_e(v) * total : (d - total) * v);
    }
}

// losses[r] = log sum exp(x) - x[target], logs[r] = log sum exp(x); 0 and no gradient where target == ignored
template <class T> DEVICE void cross_entropy_rows(const T* x, const i64* target, typename WideOf<T>::type* losses,
                                                  typename WideOf<T>::type* logs, i64 rows, int cols, i64 ignored) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols;
    A top = A(-1) / A(0), total = 0;
    if (inside) COLUMNS(c) top = Max::of(top, (A)load(x[c]));
    top = over_row<Max>(top, A(-1) / A(0));
    if (inside) COLUMNS(c) total += power_e((A)load(x[c]) - top);
    total = over_row<Sum>(total, A(0));
    if (!inside || threadIdx.x) return;
    A log_total = log_e(total) + top;
    i64 t = target[row];
    logs[row] = log_total;
    losses[row] = t == ignored ? A(0) : t < 0 || t >= cols ? A(0) / A(0) : log_total - (A)load(x[t]);
}

// dx = (softmax(x) - one hot target) * g[r]; `one` says that g has one element for all rows; `count`, if there is one, divides
template <class T> DEVICE void cross_entropy_rows_backward(const T* x, const i64* target, const typename WideOf<T>::type* logs,
                                                           const T* g, const typename WideOf<T>::type* count, T* out, i64 rows,
                                                           int cols, i64 ignored, int one) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    if (row >= rows) return;
    x += row * cols; out += row * cols;
    i64 t = target[row];
    A log_total = logs[row], d = t == ignored ? A(0) : (A)load(g[one ? 0 : row]) / (count ? *count : A(1));
    COLUMNS(c) out[c] = Store<T>::of((power_e((A)load(x[c]) - log_total) - (c == t ? A(1) : A(0))) * d);
}

// y = (x - mean) * rstd * weight + bias, with mean and rstd kept in the wide type; weight and bias may be null
template <class T> DEVICE void layer_norm_rows(const T* x, const T* weight, const T* bias, T* out,
                                               typename WideOf<T>::type* mean, typename WideOf<T>::type* rstd, i64 rows,
                                               int cols, double eps) {
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
        A y = ((A)load(x[c]) - m) * r;
        if (weight) y *= (A)load(weight[c]);
        if (bias) y += (A)load(bias[c]);
        out[c] = Store<T>::of(y);
    }
}

// dx = rstd (h - mean(h) - z mean(h z)) with h = g weight and z = (x - mean) rstd
template <class T> DEVICE void layer_norm_rows_backward(const T* g, const T* x, const T* weight,
                                                        const typename WideOf<T>::type* mean,
                                                        const typename WideOf<T>::type* rstd, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    g += row * cols; x += row * cols; out += row * cols;
    A m = inside ? mean[row] : A(0), r = inside ? rstd[row] : A(0), first = 0, second = 0;
    if (inside) COLUMNS(c) {
        A h = weight ? (A)load(g[c]) * (A)load(weight[c]) : (A)load(g[c]);
        first += h;
        second += h * ((A)load(x[c]) - m) * r;
    }
    first = over_row<Sum>(first, A(0)) / A(cols);
    second = over_row<Sum>(second, A(0)) / A(cols);
    if (!inside) return;
    COLUMNS(c) {
        A h = weight ? (A)load(g[c]) * (A)load(weight[c]) : (A)load(g[c]);
        out[c] = Store<T>::of(r * (h - first - ((A)load(x[c]) - m) * r * second));
    }
}

// The sums over rows that weight and bias get: blocks (32 columns, 8 lines), gridDim.y slices of rows, added up in `wide`
// arrays that start at zero. Without `mean` (rms_norm) nothing is subtracted.
template <class T> DEVICE void layer_norm_columns(const T* g, const T* x, const typename WideOf<T>::type* mean,
                                                  const typename WideOf<T>::type* rstd, typename WideOf<T>::type* dweight,
                                                  typename WideOf<T>::type* dbias, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    SHARED A weights[8][32];
    SHARED A biases[8][32];
    int c = blockIdx.x * 32 + threadIdx.x;
    A w = 0, b = 0;
    if (c < cols)
        for (i64 row = (i64)blockIdx.y * 8 + threadIdx.y; row < rows; row += (i64)gridDim.y * 8) {
            A d = load(g[row * cols + c]);
            b += d;
            w += d * ((A)load(x[row * cols + c]) - (mean ? mean[row] : A(0))) * rstd[row];
        }
    weights[threadIdx.y][threadIdx.x] = w;
    biases[threadIdx.y][threadIdx.x] = b;
    barrier();
    if (threadIdx.y || c >= cols) return;
    for (int line = 1; line < 8; line++) { w += weights[line][threadIdx.x]; b += biases[line][threadIdx.x]; }
    if (dweight) add_atomically(dweight + c, w);
    if (dbias) add_atomically(dbias + c, b);
}

#define ROWS(name, T) \
KERNEL softmax_##name(const T* x, T* out, i64 rows, int cols) { softmax_rows<T, false>(x, out, rows, cols); } \
KERNEL log_softmax_##name(const T* x, T* out, i64 rows, int cols) { softmax_rows<T, true>(x, out, rows, cols); } \
KERNEL softmax_backward_##name(const T* g, const T* y, T* out, i64 rows, int cols) { \
    softmax_rows_backward<T, false>(g, y, out, rows, cols); \
} \
KERNEL log_softmax_backward_##name(const T* g, const T* y, T* out, i64 rows, int cols) { \
    softmax_rows_backward<T, true>(g, y, out, rows, cols); \
} \
KERNEL cross_entropy_##name(const T* x, const i64* target, WideOf<T>::type* losses, WideOf<T>::type* logs, i64 rows, \
                            int cols, i64 ignored) { \
    cross_entropy_rows<T>(x, target, losses, logs, rows, cols, ignored); \
} \
KERNEL cross_entropy_backward_##name(const T* x, const i64* target, const WideOf<T>::type* logs, const T* g, \
                                     const WideOf<T>::type* count, T* out, i64 rows, int cols, i64 ignored, int one) { \
    cross_entropy_rows_backward<T>(x, target, logs, g, count, out, rows, cols, ignored, one); \
} \
KERNEL layer_norm_##name(const T* x, const T* weight, const T* bias, T* out, WideOf<T>::type* mean, WideOf<T>::type* rstd, \
                         i64 rows, int cols, double eps) { \
    layer_norm_rows<T>(x, weight, bias, out, mean, rstd, rows, cols, eps); \
} \
KERNEL layer_norm_backward_##name(const T* g, const T* x, const T* weight, const WideOf<T>::type* mean, \
                                  const WideOf<T>::type* rstd, T* out, i64 rows, int cols) { \
    layer_norm_rows_backward<T>(g, x, weight, mean, rstd, out, rows, cols); \
} \
KERNEL layer_norm_columns_##name(const T* g, const T* x, const WideOf<T>::type* mean, const WideOf<T>::type* rstd, \
                                 WideOf<T>::type* dweight, WideOf<T>::type* dbias, i64 rows, int cols) { \
    layer_norm_columns<T>(g, x, mean, rstd, dweight, dbias, rows, cols); \
}
FOR_FLOATS(ROWS)
