// Losses of an input and a target of one shape: each element's loss, or the parts of their sum; and the input's gradient.
// Formulas are those of the cards in engine/ops/losses_pointwise.py; `p` is beta or delta where a loss has one.

template <class A> DEVICE A sign_of(A x) { return x > A(0) ? A(1) : x < A(0) ? A(-1) : x; }

struct Mse {
    template <class A> static DEVICE A y(A x, A t, A p) { return (x - t) * (x - t); }
    template <class A> static DEVICE A dx(A x, A t, A p) { return A(2) * (x - t); }
};
struct L1 {
    template <class A> static DEVICE A y(A x, A t, A p) { return magnitude(x - t); }
    template <class A> static DEVICE A dx(A x, A t, A p) { return sign_of(x - t); }
};
struct SmoothL1 {
    template <class A> static DEVICE A y(A x, A t, A p) {
        A d = magnitude(x - t);
        return d < p ? A(0.5) * d * d / p : d - A(0.5) * p;
    }
    template <class A> static DEVICE A dx(A x, A t, A p) {
        A d = x - t;
        return magnitude(d) < p ? d / p : sign_of(d);
    }
};
struct Huber {
    template <class A> static DEVICE A y(A x, A t, A p) {
        A d = magnitude(x - t);
        return d <= p ? A(0.5) * d * d : p * (d - A(0.5) * p);
    }
    template <class A> static DEVICE A dx(A x, A t, A p) {
        A d = x - t;
        return magnitude(d) <= p ? d : sign_of(d) * p;
    }
};
struct BceWithLogits {
    template <class A> static DEVICE A y(A x, A t, A p) {
        return (A(1) - t) * x + log_1p(power_e(-magnitude(x))) - (x < A(0) ? x : A(0));
    }
    template <class A> static DEVICE A dx(A x, A t, A p) { return logistic(x) - t; }
};

template <class F, class T> DEVICE void pair_loss(const T* x, const T* t, T* out, typename WideOf<T>::type* parts, i64 n, double p) {
    typedef typename WideOf<T>::type A;
    A total = 0;
    FOR_EACH(i, n) {
        A loss = F::y((A)load(x[i]), (A)load(t[i]), (A)p);
        if (out) out[i] = Store<T>::of(loss);
        total += loss;
    }
    if (!parts) return;
    total = over_row<Sum>(total, A(0));
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// `one` says that g has one element, for all losses
template <class F, class T> DEVICE void pair_loss_backward(const T* x, const T* t, const T* g, T* dx, i64 n, double p, double scale,
                                                           int one) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, n) {
        A d = (A)load(g[one ? 0 : i]) * (A)scale;
        dx[i] = Store<T>::of(F::dx((A)load(x[i]), (A)load(t[i]), (A)p) * d);
    }
}

// losses[r] = -x[r][target]; 0 where the target is ignored, NaN where there is no such class
template <class T> DEVICE void nll_rows(const T* x, const i64* target, typename WideOf<T>::type* losses, i64 rows, int cols,
                                        i64 ignored) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(r, rows) {
        i64 t = target[r];
        losses[r] = t == ignored ? A(0) : t < 0 || t >= cols ? A(0) / A(0) : -(A)load(x[r * cols + t]);
    }
}

// dx = -g at the target, 0 elsewhere; `count`, if there is one, divides
template <class T> DEVICE void nll_rows_backward(const T* g, const i64* target, const typename WideOf<T>::type* count, T* dx,
                                                 i64 rows, int cols, i64 ignored, int one) {
    typedef typename WideOf<T>::type A;
    FOR_EACH(i, rows * cols) {
        i64 r = i / cols, t = target[r];
        A d = t != ignored && t == i % cols ? -(A)load(g[one ? 0 : r]) / (count ? *count : A(1)) : A(0);
        dx[i] = Store<T>::of(d);
    }
}

// The sum of losses, or their mean over the rows that count, whose number is left in `count`. One block.
template <class T> DEVICE void sum_of_losses(const typename WideOf<T>::type* losses, const i64* target, T* out,
                                             typename WideOf<T>::type* count, i64 rows, i64 ignored) {
    typedef typename WideOf<T>::type A;
    A total = 0, rows_counted = 0;
    for (i64 r = threadIdx.x; r < rows; r += blockDim.x) {
        total += losses[r];
        rows_counted += target[r] == ignored ? A(0) : A(1);
    }
    total = over_row<Sum>(total, A(0));
    rows_counted = over_row<Sum>(rows_counted, A(0));
    if (threadIdx.x) return;
    if (count) *count = rows_counted;
    *out = Store<T>::of(count ? total / rows_counted : total);
}

#define PAIR_LOSS(fn, op, name, T) \
KERNEL op##_##name(const T* x, const T* t, T* out, WideOf<T>::type* parts, i64 n, double p) { \
    pair_loss<fn, T>(x, t, out, parts, n, p); \
} \
KERNEL op##_backward_##name(const T* x, const T* t, const T* g, T* dx, i64 n, double p, double scale, int one) { \
    pair_loss_backward<fn, T>(x, t, g, dx, n, p, scale, one); \
}
#define LOSSES(name, T) \
    PAIR_LOSS(Mse, mse_loss, name, T) PAIR_LOSS(L1, l1_loss, name, T) PAIR_LOSS(SmoothL1, smooth_l1_loss, name, T) \
    PAIR_LOSS(Huber, huber_loss, name, T) PAIR_LOSS(BceWithLogits, bce_with_logits, name, T) \
KERNEL nll_##name(const T* x, const i64* target, WideOf<T>::type* losses, i64 rows, int cols, i64 ignored) { \
    nll_rows<T>(x, target, losses, rows, cols, ignored); \
} \
KERNEL nll_backward_##name(const T* g, const i64* target, const WideOf<T>::type* count, T* dx, i64 rows, int cols, i64 ignored, \
                           int one) { \
    nll_rows_backward<T>(g, target, count, dx, rows, cols, ignored, one); \
} \
KERNEL sum_of_losses_##name(const WideOf<T>::type* losses, const i64* target, T* out, WideOf<T>::type* count, i64 rows, \
                            i64 ignored) { \
    sum_of_losses<T>(losses, target, out, count, rows, ignored); \
}
FOR_FLOATS(LOSSES)
