// Optimizer steps over flat storage, the norm of gradients, and unscaling. Numbers that change from step to step (learning
// rate, step count, loss scale, whether to skip) lie in device memory, so that a captured graph sees them change.

// Adam (Kingma and Ba 2015), AdamW with `decoupled` (Loshchilov and Hutter 2019). `control`: learning rate, step count,
// 1 if the step is to be skipped, the divisor of gradients. The step count is that of this step.
template <class T> DEVICE void adam(T* p, const T* g, T* m, T* v, T* top, i64 n, const double* control, double beta1,
                                    double beta2, double eps, double decay, int decoupled, int maximize) {
    typedef typename WideOf<T>::type A;
    if (control[2] != 0) return;
    double step = control[1];
    A rate = (A)control[0], divisor = (A)control[3], b1 = (A)beta1, b2 = (A)beta2, wd = (A)decay;
    A size = (A)(control[0] / (1 - pow(beta1, step))), correction = (A)sqrt(1 - pow(beta2, step));
    FOR_EACH(i, n) {
        A w = load(p[i]), d = load(g[i]) / divisor;
        if (maximize) d = -d;
        if (decoupled) w -= rate * wd * w; else d += wd * w;
        A first = load(m[i]), second = load(v[i]);
        first += (d - first) * (A(1) - b1);
        second = second * b2 + (A(1) - b2) * d * d;
        m[i] = Store<T>::of(first);
        v[i] = Store<T>::of(second);
        if (top) {
            second = Max::of((A)load(top[i]), second);
            top[i] = Store<T>::of(second);
        }
        p[i] = Store<T>::of(w - size * first / (root(second) / correction + (A)eps));
    }
}

// SGD with momentum; `control[1] == 1` is the first step, whose momentum is the gradient itself.
template <class T> DEVICE void sgd(T* p, const T* g, T* m, i64 n, const double* control, double momentum, double dampening,
                                   double decay, int nesterov, int maximize) {
    typedef typename WideOf<T>::type A;
    if (control[2] != 0) return;
    A rate = (A)control[0], divisor = (A)control[3], mu = (A)momentum;
    bool first = control[1] == 1;
    FOR_EACH(i, n) {
        A w = load(p[i]), d = load(g[i]) / divisor;
        if (maximize) d = -d;
        d += (A)decay * w;
        if (m) {
            A velocity = first ? d : (A)load(m[i]) * mu + (A)(1 - dampening) * d;
            m[i] = Store<T>::of(velocity);
            d = nesterov ? d + mu * velocity : velocity;
        }
        p[i] = Store<T>::of(w - rate * d);
    }
}

// total += sum(g * g); `total` starts at zero
template <class T> DEVICE void sum_of_squares(const T* g, double* total, i64 n) {
    double sum = 0;
    FOR_EACH(i, n) { double v = load(g[i]); sum += v * v; }
    sum = over_row<Sum>(sum, 0.0);
    if (threadIdx.x == 0) add_atomically(total, sum);
}

// g *= min(max_norm / (norm + 1e-6), 1) with norm = sqrt(total)
template <class T> DEVICE void clip(T* g, const double* total, i64 n, double max_norm) {
    double factor = max_norm / (sqrt(*total) + 1e-6);
    if (factor >= 1) return;
    FOR_EACH(i, n) g[i] = Store<T>::of(load(g[i]) * (typename WideOf<T>::type)factor);
}

// g /= scale, and found = 1 where anything is not finite. Writing 1 from many threads is no race that matters.
template <class T> DEVICE void unscale(T* g, float* found, const float* scale, i64 n) {
    typedef typename WideOf<T>::type A;
    A factor = A(1) / (A)*scale;
    bool bad = false;
    FOR_EACH(i, n) {
        A v = load(g[i]);
        bad = bad || !(v - v == A(0));
        g[i] = Store<T>::of(v * factor);
    }
    if (bad) *found = 1;
}

// The scale after a step: smaller after an overflow, larger after `interval` steps without.
KERNEL adapt_scale(float* scale, int* tracker, const float* found, double growth, double backoff, int interval) {
    if (thread_index()) return;
    if (*found != 0) { *scale *= (float)backoff; *tracker = 0; return; }
    if (++*tracker == interval) {
        float grown = *scale * (float)growth;
        if (grown <= 3.4028234663852886e38f) *scale = grown;
        *tracker = 0;
    }
}

// Before a step: its number, and whether `found` says that it is to be skipped (then the count goes back).
KERNEL begin_step(double* control, const float* found) {
    if (thread_index()) return;
    bool skip = found && *found != 0;
    control[2] = skip;
    if (!skip) control[1] += 1;
}

#define STEPS(name, T) \
KERNEL adam_##name(T* p, const T* g, T* m, T* v, T* top, i64 n, const double* control, double beta1, double beta2, double eps, \
                   double decay, int decoupled, int maximize) { \
    adam(p, g, m, v, top, n, control, beta1, beta2, eps, decay, decoupled, maximize); \
} \
KERNEL sgd_##name(T* p, const T* g, T* m, i64 n, const double* control, double momentum, double dampening, double decay, \
                  int nesterov, int maximize) { \
    sgd(p, g, m, n, control, momentum, dampening, decay, nesterov, maximize); \
} \
KERNEL sum_of_squares_##name(const T* g, double* total, i64 n) { sum_of_squares(g, total, n); } \
KERNEL clip_##name(T* g, const double* total, i64 n, double max_norm) { clip(g, total, n, max_norm); } \
KERNEL unscale_##name(T* g, float* found, const float* scale, i64 n) { unscale(g, found, scale, n); }
FOR_FLOATS(STEPS)
