// Sums of all elements, of rows and of columns, times a factor. Parts are added up in the same order each time, so that a sum
// comes out the same each time.

template <class T> DEVICE void sum_rows(const T* x, T* out, i64 rows, int cols, double scale) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols;
    A total = 0;
    if (inside) COLUMNS(c) total += (A)load(x[c]);
    total = over_row<Sum>(total, A(0));
    if (inside && threadIdx.x == 0) out[row] = Store<T>::of(total * (A)scale);
}

// parts[block] = the sum of what a block's threads come by
template <class T> DEVICE void sum_parts(const T* x, typename WideOf<T>::type* parts, i64 n) {
    typedef typename WideOf<T>::type A;
    const int k = 16 / sizeof(T);
    i64 packs = aligned(x) ? n / k : 0;
    A total = 0;
    FOR_EACH(i, packs) {
        Pack<T> pack = ((const Pack<T>*)x)[i];
        for (int j = 0; j < k; j++) total += (A)load(pack.v[j]);
    }
    for (i64 i = packs * k + thread_index(); i < n; i += thread_count()) total += (A)load(x[i]);
    total = over_row<Sum>(total, A(0));
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

template <class T> DEVICE void sum_of_parts(const typename WideOf<T>::type* parts, T* out, int count, double scale) {
    typedef typename WideOf<T>::type A;
    A total = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
    total = over_row<Sum>(total, A(0));
    if (threadIdx.x == 0) *out = Store<T>::of(total * (A)scale);
}

// parts[slice][column]: blocks of (32 columns, 8 lines), gridDim.y slices of rows
template <class T> DEVICE void sum_columns(const T* x, typename WideOf<T>::type* parts, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    SHARED A lines[8][32];
    int c = blockIdx.x * 32 + threadIdx.x;
    A total = 0;
    if (c < cols)
        for (i64 row = (i64)blockIdx.y * 8 + threadIdx.y; row < rows; row += (i64)gridDim.y * 8) total += (A)load(x[row * cols + c]);
    lines[threadIdx.y][threadIdx.x] = total;
    barrier();
    if (threadIdx.y || c >= cols) return;
    for (int line = 1; line < 8; line++) total += lines[line][threadIdx.x];
    parts[(i64)blockIdx.y * cols + c] = total;
}

template <class T> DEVICE void columns_of_parts(const typename WideOf<T>::type* parts, T* out, int slices, int cols, double scale) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(c, cols) {
        A total = 0;
        for (int slice = 0; slice < slices; slice++) total += parts[(i64)slice * cols + c];
        out[c] = Store<T>::of(total * (A)scale);
    }
}

// out[row] = log sum exp of a row
template <class T> DEVICE void log_sum_exp(const T* x, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    i64 row = row_index();
    bool inside = row < rows;
    x += row * cols;
    A top = A(-1) / A(0), total = 0;
    if (inside) COLUMNS(c) top = Max::of(top, (A)load(x[c]));
    top = over_row<Max>(top, A(-1) / A(0));
    A base = magnitude(top) == A(1) / A(0) ? A(0) : top;
    if (inside) COLUMNS(c) total += power_e((A)load(x[c]) - base);
    total = over_row<Sum>(total, A(0));
    if (inside && threadIdx.x == 0) out[row] = Store<T>::of(log_e(total) + base);
}

// dx = g exp(x - y)
template <class T> DEVICE void log_sum_exp_backward(const T* g, const T* x, const T* y, T* out, i64 rows, int cols) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, rows * cols) {
        out[i] = Store<T>::of((A)load(g[i / cols]) * power_e((A)load(x[i]) - (A)load(y[i / cols])));
    }
}

#define REDUCTIONS(name, T) \
KERNEL sum_rows_##name(const T* x, T* out, i64 rows, int cols, double scale) { sum_rows<T>(x, out, rows, cols, scale); } \
KERNEL sum_parts_##name(const T* x, WideOf<T>::type* parts, i64 n) { sum_parts<T>(x, parts, n); } \
KERNEL sum_of_parts_##name(const WideOf<T>::type* parts, T* out, int count, double scale) { \
    sum_of_parts<T>(parts, out, count, scale); \
} \
KERNEL sum_columns_##name(const T* x, WideOf<T>::type* parts, i64 rows, int cols) { sum_columns<T>(x, parts, rows, cols); } \
KERNEL columns_of_parts_##name(const WideOf<T>::type* parts, T* out, int slices, int cols, double scale) { \
    columns_of_parts<T>(parts, out, slices, cols, scale); \
} \
KERNEL log_sum_exp_##name(const T* x, T* out, i64 rows, int cols) { log_sum_exp<T>(x, out, rows, cols); } \
KERNEL log_sum_exp_backward_##name(const T* g, const T* x, const T* y, T* out, i64 rows, int cols) { \
    log_sum_exp_backward<T>(g, x, y, out, rows, cols); \
}
FOR_FLOATS(REDUCTIONS)
