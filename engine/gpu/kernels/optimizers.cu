// Optimizer steps over flat storage in one pass, and the unscaling of gradients. The formulas and the numbers that change from
// step to step are those of the chains in engine/optim; what is common is done here: maximize, `decay` added to the gradient,
// `shrink` as a factor on the parameter.

template <class A> struct Common {
    A decay, shrink;
    bool maximize;
    DEVICE A gradient(A w, A d) const { return (maximize ? -d : d) + decay * w; }
};

// m += (d - m) * new1; v = v * beta2 + new2 * d * d; w = w * shrink + step * m / (sqrt(largest v) + eps)
template <class T> DEVICE void adam(T* p, const T* g, T* m, T* v, T* top, i64 n, Common<T> common, T new1, T beta2, T new2,
                                    T eps, T step) {
    FOR_EACH(i, n) {
        T w = p[i], d = common.gradient(w, g[i]);
        T first = m[i] + (d - m[i]) * new1, second = v[i] * beta2 + new2 * d * d;
        m[i] = first;
        v[i] = second;
        if (top) top[i] = second = Max::of(top[i], second);
        p[i] = w * common.shrink + step * first / (root(second) + eps);
    }
}

// m = m * momentum + fresh * d, or without m the gradient itself; with `nesterov` one step of momentum ahead
template <class T> DEVICE void sgd(T* p, const T* g, T* m, i64 n, Common<T> common, T step, T momentum, T fresh, int nesterov) {
    FOR_EACH(i, n) {
        T w = p[i], d = common.gradient(w, g[i]);
        if (m) {
            T velocity = m[i] * momentum + fresh * d;
            m[i] = velocity;
            d = nesterov ? d + momentum * velocity : velocity;
        }
        p[i] = w * common.shrink + step * d;
    }
}

// g *= factor, and found = 1 where anything was not finite. Many threads may write that 1.
template <class T> DEVICE void unscale(T* g, float* found, i64 n, typename WideOf<T>::type factor) {
    bool bad = false;
    FOR_EACH(i, n) {
        typename WideOf<T>::type v = load(g[i]);
        bad = bad || !(v - v == 0);
        g[i] = Store<T>::of(v * factor);
    }
    if (bad) *found = 1;
}

#define STEPS(name, T) \
KERNEL adam_##name(T* p, const T* g, T* m, T* v, T* top, i64 n, double decay, double shrink, int maximize, double new1, \
                   double beta2, double new2, double eps, double step) { \
    Common<T> common = {(T)decay, (T)shrink, maximize != 0}; \
    adam<T>(p, g, m, v, top, n, common, (T)new1, (T)beta2, (T)new2, (T)eps, (T)step); \
} \
KERNEL sgd_##name(T* p, const T* g, T* m, i64 n, double decay, double shrink, int maximize, double step, double momentum, \
                  double fresh, int nesterov) { \
    Common<T> common = {(T)decay, (T)shrink, maximize != 0}; \
    sgd<T>(p, g, m, n, common, (T)step, (T)momentum, (T)fresh, nesterov); \
}
STEPS(f32, float)
STEPS(f64, double)

#define UNSCALE(name, T) \
KERNEL unscale_##name(T* g, float* found, i64 n, double factor) { unscale<T>(g, found, n, (WideOf<T>::type)factor); }
FOR_FLOATS(UNSCALE)
