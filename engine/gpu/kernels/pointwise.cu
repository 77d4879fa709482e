// Activations and their gradients, dropout, casts. Formulas are those of the cards in engine/ops.

DEVICE float root(float x) { return sqrtf(x); }
DEVICE double root(double x) { return sqrt(x); }
DEVICE float power_e(float x) { return expf(x); }
DEVICE double power_e(double x) { return exp(x); }
DEVICE float log_1p(float x) { return log1pf(x); }
DEVICE double log_1p(double x) { return log1p(x); }
DEVICE float log_e(float x) { return logf(x); }
DEVICE double log_e(double x) { return log(x); }
DEVICE float tangent(float x) { return tanhf(x); }
DEVICE double tangent(double x) { return tanh(x); }
DEVICE float error(float x) { return erff(x); }
DEVICE double error(double x) { return erf(x); }
template <class A> DEVICE A logistic(A x) { return A(1) / (A(1) + power_e(-x)); }

struct Gelu {
    template <class A> static DEVICE A y(A x) { return x * A(0.5) * (A(1) + error(x * A(0.7071067811865476))); }
    template <class A> static DEVICE A dx(A x) {
        return A(0.5) * (A(1) + error(x * A(0.7071067811865476))) + x * A(0.3989422804014327) * power_e(A(-0.5) * x * x);
    }
};
struct GeluTanh {
    template <class A> static DEVICE A y(A x) {
        return A(0.5) * x * (A(1) + tangent(A(0.7978845608028654) * (x + A(0.044715) * x * x * x)));
    }
    template <class A> static DEVICE A dx(A x) {
        A t = tangent(A(0.7978845608028654) * (x + A(0.044715) * x * x * x));
        return A(0.5) * (A(1) + t) + A(0.5) * x * (A(1) - t * t) * A(0.7978845608028654) * (A(1) + A(0.134145) * x * x);
    }
};
struct Silu {
    template <class A> static DEVICE A y(A x) { return x * logistic(x); }
    template <class A> static DEVICE A dx(A x) { A s = logistic(x); return s * (A(1) + x * (A(1) - s)); }
};
struct Mish {
    template <class A> static DEVICE A softplus(A x) { return x > A(20) ? x : log_1p(power_e(x)); }
    template <class A> static DEVICE A y(A x) { return x * tangent(softplus(x)); }
    template <class A> static DEVICE A dx(A x) {
        A t = tangent(softplus(x));
        return t + x * (A(1) - t * t) * logistic(x);
    }
};
struct Relu {
    template <class A> static DEVICE A y(A x) { return x > A(0) || x != x ? x : A(0); }
    template <class A> static DEVICE A dx(A x) { return x > A(0) ? A(1) : A(0); }
};
struct Sigmoid {
    template <class A> static DEVICE A y(A x) { return logistic(x); }
    template <class A> static DEVICE A dx(A y) { return y * (A(1) - y); }  // of the output
};
struct Tanh {
    template <class A> static DEVICE A y(A x) { return tangent(x); }
    template <class A> static DEVICE A dx(A y) { return A(1) - y * y; }  // of the output
};

#define ACTIVATION(fn, op, name, T) \
KERNEL op##_##name(const T* x, T* out, i64 n) { \
    map(x, out, n, [](WideOf<T>::type v) { return fn::y(v); }); \
} \
KERNEL op##_backward_##name(const T* g, const T* x, T* out, i64 n) { \
    map(g, x, out, n, [](WideOf<T>::type d, WideOf<T>::type v) { return d * fn::dx(v); }); \
}
#define ACTIVATIONS(name, T) \
    ACTIVATION(Gelu, gelu, name, T) ACTIVATION(GeluTanh, gelu_tanh, name, T) ACTIVATION(Silu, silu, name, T) \
    ACTIVATION(Mish, mish, name, T) ACTIVATION(Relu, relu, name, T) ACTIVATION(Sigmoid, sigmoid, name, T) \
    ACTIVATION(Tanh, tanh, name, T)
FOR_FLOATS(ACTIVATIONS)

// out = mask ? x * scale : 0
#define MASKED(name, T) \
KERNEL masked_##name(const T* x, const u8* mask, T* out, i64 n, double scale) { \
    WideOf<T>::type factor = (WideOf<T>::type)scale; \
    FOR_EACH(i, n) out[i] = Store<T>::of(mask[i] ? load(x[i]) * factor : 0); \
}
FOR_FLOATS(MASKED)
