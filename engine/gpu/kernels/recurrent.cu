// One step of an LSTM or GRU between its products: everything of (n, hidden) elements that is pointwise. Products of the
// inputs lie in `sums` for all rows, those of the states in `products` for this step. `h` and `c` are the running states.

// Gates in the order i, f, g, o. `sums` become the gates after their functions; the states before are kept for the gradient.
template <class T> DEVICE void lstm_step(T* sums, const T* products, T* h, T* c, T* h_before, T* c_before, T* out, i64 n, int hidden) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, n * hidden) {
        i64 first = i / hidden * 4 * hidden + i % hidden;
        T* at = sums + first;
        const T* u = products + first;
        A in = logistic((A)load(at[0]) + (A)load(u[0])), forget = logistic((A)load(at[hidden]) + (A)load(u[hidden]));
        A cell = tangent((A)load(at[2 * hidden]) + (A)load(u[2 * hidden]));
        A o = logistic((A)load(at[3 * hidden]) + (A)load(u[3 * hidden]));
        A before = load(c[i]), next = forget * before + in * cell;
        h_before[i] = h[i];
        c_before[i] = c[i];
        at[0] = Store<T>::of(in); at[hidden] = Store<T>::of(forget); at[2 * hidden] = Store<T>::of(cell); at[3 * hidden] = Store<T>::of(o);
        c[i] = Store<T>::of(next);
        h[i] = out[i] = Store<T>::of(o * tangent(next));
    }
}

// The gradients of the sums, in place of the gates; dc becomes that of the cell state before. dh holds what came through the
// products of the step after, g what came from outside (null for nothing).
template <class T> DEVICE void lstm_step_backward(T* gates, const T* c_before, const T* g, const T* dh, T* dc, i64 n, int hidden) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, n * hidden) {
        T* at = gates + i / hidden * 4 * hidden + i % hidden;
        A in = load(at[0]), forget = load(at[hidden]), cell = load(at[2 * hidden]), o = load(at[3 * hidden]);
        A before = load(c_before[i]), squashed = tangent(forget * before + in * cell);
        A d = (g ? (A)load(g[i]) : A(0)) + (A)load(dh[i]);
        A dn = (A)load(dc[i]) + d * o * (A(1) - squashed * squashed);
        at[0] = Store<T>::of(dn * cell * in * (A(1) - in));
        at[hidden] = Store<T>::of(dn * before * forget * (A(1) - forget));
        at[2 * hidden] = Store<T>::of(dn * in * (A(1) - cell * cell));
        at[3 * hidden] = Store<T>::of(d * squashed * o * (A(1) - o));
        dc[i] = Store<T>::of(dn * forget);
    }
}

// Gates in the order r, z, n. `sums` become r, z and n, and `inner` the state's part of n, for the gradient.
template <class T> DEVICE void gru_step(T* sums, const T* products, T* h, T* h_before, T* inner, T* out, i64 n, int hidden) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, n * hidden) {
        i64 first = i / hidden * 3 * hidden + i % hidden;
        T* at = sums + first;
        const T* u = products + first;
        A r = logistic((A)load(at[0]) + (A)load(u[0])), z = logistic((A)load(at[hidden]) + (A)load(u[hidden]));
        A part = load(u[2 * hidden]), m = tangent((A)load(at[2 * hidden]) + r * part), before = load(h[i]);
        h_before[i] = h[i];
        inner[i] = u[2 * hidden];
        at[0] = Store<T>::of(r); at[hidden] = Store<T>::of(z); at[2 * hidden] = Store<T>::of(m);
        h[i] = out[i] = Store<T>::of((before - m) * z + m);
    }
}

// `gates` become the gradients of the inputs' sums, `du` those of the states' products. The gradient of the state before is
// `dh` (what came through products) and `direct` (what came past them) together.
template <class T> DEVICE void gru_step_backward(T* gates, const T* h_before, const T* inner, const T* g, const T* dh, T* direct, T* du,
                                                 i64 n, int hidden) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, n * hidden) {
        i64 first = i / hidden * 3 * hidden + i % hidden;
        T* at = gates + first;
        T* to = du + first;
        A r = load(at[0]), z = load(at[hidden]), m = load(at[2 * hidden]);
        A d = (g ? (A)load(g[i]) : A(0)) + (A)load(dh[i]) + (A)load(direct[i]);
        A dm = d * (A(1) - z) * (A(1) - m * m), dz = d * ((A)load(h_before[i]) - m) * z * (A(1) - z);
        A dr = dm * (A)load(inner[i]) * r * (A(1) - r);
        at[0] = to[0] = Store<T>::of(dr);
        at[hidden] = to[hidden] = Store<T>::of(dz);
        at[2 * hidden] = Store<T>::of(dm);
        to[2 * hidden] = Store<T>::of(dm * r);
        direct[i] = Store<T>::of(d * z);
    }
}

#define RECURRENT(name, T) \
KERNEL lstm_step_##name(T* sums, const T* products, T* h, T* c, T* h_before, T* c_before, T* out, i64 n, int hidden) { \
    lstm_step<T>(sums, products, h, c, h_before, c_before, out, n, hidden); \
} \
KERNEL lstm_step_backward_##name(T* gates, const T* c_before, const T* g, const T* dh, T* dc, i64 n, int hidden) { \
    lstm_step_backward<T>(gates, c_before, g, dh, dc, n, hidden); \
} \
KERNEL gru_step_##name(T* sums, const T* products, T* h, T* h_before, T* inner, T* out, i64 n, int hidden) { \
    gru_step<T>(sums, products, h, h_before, inner, out, n, hidden); \
} \
KERNEL gru_step_backward_##name(T* gates, const T* h_before, const T* inner, const T* g, const T* dh, T* direct, T* du, i64 n, \
                                int hidden) { \
    gru_step_backward<T>(gates, h_before, inner, g, dh, direct, du, n, hidden); \
}
FOR_FLOATS(RECURRENT)
