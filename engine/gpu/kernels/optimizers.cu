// Optimizer steps over flat storage in one pass, their numbers, the unscaling of gradients, and the scale of losses. The formulas
// and the numbers that change from step to step are those of the chains in engine/optim; what is common is done here: maximize,
// `decay` added to the gradient, `shrink` as a factor on the parameter. Numbers come by value, or from `live` in device memory,
// where a replayed graph finds those of the day. Nothing happens where `found` says that a gradient overflowed.

template <class A> struct Common {
    A decay, shrink;
    bool maximize;
    DEVICE A gradient(A w, A d) const { return (maximize ? -d : d) + decay * w; }
};

// Parameters with their gradients, whose states lie side by side: member j is elements start[j] to start[j + 1].
struct Table { u64 p[64]; u64 g[64]; i64 start[65]; i64 count; };

template <class T> struct Place { T* p; const T* g; };
template <class T> DEVICE Place<T> find(const Table& table, i64 i) {
    int low = 0, high = (int)table.count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (table.start[middle] <= i) low = middle; else high = middle;
    }
    i64 at = i - table.start[low];
    Place<T> place = {(T*)table.p[low] + at, (const T*)table.g[low] + at};
    return place;
}

DEVICE bool skipped(const float* found) { return found && *found != 0; }

// m += (d - m) * new1; v = v * beta2 + new2 * d * d; w = w * shrink + step * m / (sqrt(largest v) + eps)
template <class T, class A> DEVICE void adam(const Table& table, T* m, T* v, T* top, i64 n, Common<A> common, A new1, A beta2,
                                             A new2, A eps, A step) {
    FOR_EACH(i, n) {
        Place<T> at = find<T>(table, i);
        A w = load(*at.p), d = common.gradient(w, load(*at.g));
        A first = load(m[i]) + (d - load(m[i])) * new1, second = load(v[i]) * beta2 + new2 * d * d;
        m[i] = Store<T>::of(first);
        v[i] = Store<T>::of(second);
        if (top) top[i] = Store<T>::of(second = Max::of(load(top[i]), second));
        *at.p = Store<T>::of(w * common.shrink + step * first / (root(second) + eps));
    }
}

// m = m * momentum + fresh * d, or without m the gradient itself; with `nesterov` one step of momentum ahead
template <class T, class A> DEVICE void sgd(const Table& table, T* m, i64 n, Common<A> common, A step, A momentum, A fresh,
                                            int nesterov) {
    FOR_EACH(i, n) {
        Place<T> at = find<T>(table, i);
        A w = load(*at.p), d = common.gradient(w, load(*at.g));
        if (m) {
            A velocity = load(m[i]) * momentum + fresh * d;
            m[i] = Store<T>::of(velocity);
            d = nesterov ? d + momentum * velocity : velocity;
        }
        *at.p = Store<T>::of(w * common.shrink + step * d);
    }
}

// The other chains: what is added to a parameter, from its gradient, up to three states and five constants.
template <bool MOMENTUM, bool CENTERED> struct Rmsprop {  // c: -lr, alpha, 1 - alpha, eps, momentum
    template <class A> static DEVICE A delta(A d, A* s, const A* c) {
        s[0] = s[0] * c[1] + d * c[2] * d;
        A root_of = s[0];
        if (CENTERED) {
            A& average = s[MOMENTUM ? 2 : 1];
            average += (d - average) * c[2];
            root_of -= average * average;
        }
        A step = d / (root(root_of) + c[3]);
        return c[0] * (MOMENTUM ? s[1] = s[1] * c[4] + step : step);
    }
};
struct Adagrad {  // c: -rate, eps
    template <class A> static DEVICE A delta(A d, A* s, const A* c) {
        s[0] += d * d;
        return d * c[0] / (root(s[0]) + c[1]);
    }
};
struct Adamax {  // c: 1 - beta1, beta2, eps, -rate
    template <class A> static DEVICE A delta(A d, A* s, const A* c) {
        s[0] += (d - s[0]) * c[0];
        s[1] = Max::of(s[1] * c[1], (d < A(0) ? -d : d) + c[2]);
        return s[0] * c[3] / s[1];
    }
};
struct Adadelta {  // c: -lr, rho, 1 - rho, eps
    template <class A> static DEVICE A delta(A d, A* s, const A* c) {
        s[0] = s[0] * c[1] + d * c[2] * d;
        A step = root(s[1] + c[3]) / root(s[0] + c[3]) * d;
        s[1] = s[1] * c[1] + step * c[2] * step;
        return step * c[0];
    }
};
struct UnscaledAdam {  // c: 1 - beta1, beta2, 1 - beta2, eps, step
    template <class A> static DEVICE A delta(A d, A* s, const A* c) {
        s[0] += (d - s[0]) * c[0];
        s[1] = s[1] * c[1] + d * c[2] * d;
        return s[0] * c[4];
    }
};

template <class F, class T, class A> DEVICE void chain(const Table& table, T* first, T* second, T* third, i64 n, Common<A> common,
                                                       const A* c) {
    FOR_EACH(i, n) {
        Place<T> at = find<T>(table, i);
        A w = load(*at.p), s[3] = {load(first[i]), second ? (A)load(second[i]) : A(0), third ? (A)load(third[i]) : A(0)};
        A delta = F::delta(common.gradient(w, load(*at.g)), s, c);
        first[i] = Store<T>::of(s[0]);
        if (second) second[i] = Store<T>::of(s[1]);
        if (third) third[i] = Store<T>::of(s[2]);
        *at.p = Store<T>::of(w * common.shrink + delta);
    }
}

#define CHAIN(fn, op, name, T) \
KERNEL op##_##name(Table table, T* first, T* second, T* third, i64 n, double decay, double shrink, int maximize, double c0, \
                   double c1, double c2, double c3, double c4, int count, const double* live, const float* found) { \
    if (skipped(found)) return; \
    typedef WideOf<T>::type A; \
    A c[5] = {(A)c0, (A)c1, (A)c2, (A)c3, (A)c4}; \
    if (live) { \
        decay = live[0]; shrink = live[1]; \
        for (int i = 0; i < count; i++) c[i] = (A)live[2 + i]; \
    } \
    Common<A> common = {(A)decay, (A)shrink, maximize != 0}; \
    chain<fn, T, A>(table, first, second, third, n, common, c); \
}
#define STEPS(name, T) \
KERNEL adam_##name(Table table, T* m, T* v, T* top, i64 n, double decay, double shrink, int maximize, double new1, \
                   double beta2, double new2, double eps, double step, const double* live, const float* found) { \
    if (skipped(found)) return; \
    if (live) { \
        decay = live[0]; shrink = live[1]; new1 = live[2]; beta2 = live[3]; new2 = live[4]; eps = live[5]; step = live[6]; \
    } \
    typedef WideOf<T>::type A; \
    Common<A> common = {(A)decay, (A)shrink, maximize != 0}; \
    adam<T, A>(table, m, v, top, n, common, (A)new1, (A)beta2, (A)new2, (A)eps, (A)step); \
} \
KERNEL sgd_##name(Table table, T* m, i64 n, double decay, double shrink, int maximize, double step, double momentum, \
                  double fresh, int nesterov, const double* live, const float* found) { \
    if (skipped(found)) return; \
    if (live) { \
        decay = live[0]; shrink = live[1]; step = live[2]; \
        if (m) { momentum = live[3]; fresh = live[4]; } \
    } \
    typedef WideOf<T>::type A; \
    Common<A> common = {(A)decay, (A)shrink, maximize != 0}; \
    sgd<T, A>(table, m, n, common, (A)step, (A)momentum, (A)fresh, nesterov); \
} \
CHAIN(RmspropPlain, rmsprop, name, T) CHAIN(RmspropMomentum, rmsprop_momentum, name, T) \
CHAIN(RmspropCentered, rmsprop_centered, name, T) CHAIN(RmspropBoth, rmsprop_centered_momentum, name, T) \
CHAIN(Adagrad, adagrad, name, T) CHAIN(Adamax, adamax, name, T) CHAIN(Adadelta, adadelta, name, T) CHAIN(UnscaledAdam, moments, name, T)
typedef Rmsprop<false, false> RmspropPlain;
typedef Rmsprop<true, false> RmspropMomentum;
typedef Rmsprop<false, true> RmspropCentered;
typedef Rmsprop<true, true> RmspropBoth;
FOR_FLOATS(STEPS)

// The numbers of a step (`live`, and the same as floats in `narrow`): counts one more step for each of `rows`, and follows a
// recipe of instructions (what, operand, operand). Operands are the count, then the `leaves`, then the results so far.
KERNEL recipe(float* steps, const i64* rows, i64 row_count, const float* found, const double* leaves, int leaf_count,
              const int* code, int code_count, const int* results, int result_count, double* live, float* narrow) {
    if (skipped(found)) return;
    for (i64 i = threadIdx.x; i < row_count; i += blockDim.x) steps[rows[i]] += 1;
    barrier();
    if (threadIdx.x) return;
    double r[96];
    int next = 0;
    r[next++] = row_count ? (double)steps[rows[0]] : 0.0;
    for (int i = 0; i < leaf_count; i++) r[next++] = leaves[i];
    for (int i = 0; i < code_count; i++) {
        double a = r[code[3 * i + 1]], b = r[code[3 * i + 2]];
        switch (code[3 * i]) {
            case 0: r[next++] = a + b; break;
            case 1: r[next++] = a - b; break;
            case 2: r[next++] = a * b; break;
            case 3: r[next++] = a / b; break;
            default: r[next++] = pow(a, b);
        }
    }
    for (int i = 0; i < result_count; i++) { live[i] = r[results[i]]; narrow[i] = (float)r[results[i]]; }
}

// g /= scale, and found = 1 where anything was not finite. Many threads may write that 1.
template <class T> DEVICE void unscale(T* g, float* found, i64 n, typename WideOf<T>::type factor) {
    bool bad = false;
    FOR_EACH(i, n) {
        typename WideOf<T>::type v = load(g[i]);
        bad = bad || !(v - v == 0);
        g[i] = Store<T>::of(v * factor);
    }
    if (bad) *found = 1;
}

#define UNSCALE(name, T) \
KERNEL unscale_##name(T* g, float* found, i64 n, const float* scale) { \
    unscale<T>(g, found, n, (WideOf<T>::type)(1.0 / (double)*scale)); \
}
FOR_FLOATS(UNSCALE)

// The scale after a step: smaller after an overflow, larger after `interval` steps without, as long as it stays finite.
KERNEL adapt_scale(float* scale, int* tracker, const float* found, double growth, double backoff, int interval) {
    if (thread_index()) return;
    if (*found != 0) {
        *scale = (float)(*scale * backoff);
        *tracker = 0;
    } else if (++*tracker == interval) {
        float grown = (float)(*scale * growth);
        if (grown - grown == 0) *scale = grown;
        *tracker = 0;
    }
}
