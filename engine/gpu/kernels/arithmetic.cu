// Arithmetic of two arrays and of an array with a number, functions of one array, and activations with parameters. In half
// precision each is computed in float32 and rounded once, as torch does it.

struct Add { template <class A> static DEVICE A of(A a, A b) { return a + b; } };
struct Sub { template <class A> static DEVICE A of(A a, A b) { return a - b; } };
struct Mul { template <class A> static DEVICE A of(A a, A b) { return a * b; } };
struct Div { template <class A> static DEVICE A of(A a, A b) { return a / b; } };

// An operand has all n elements, one, or as many as its last dimensions, which repeat.
DEVICE i64 place_of(i64 i, i64 n, i64 own) { return own == n ? i : own == 1 ? 0 : i % own; }

template <class F, class T> DEVICE void combine(const T* a, const T* b, T* out, i64 n, i64 na, i64 nb) {
    typedef typename WideOf<T>::type A;
    if (na == n && nb == n) {
        map(a, b, out, n, [](A x, A y) { return F::of(x, y); });
        return;
    }
    FOR_EACH(i, n) out[i] = Store<T>::of(F::of((A)load(a[place_of(i, n, na)]), (A)load(b[place_of(i, n, nb)])));
}

#define COMBINE(fn, op, name, T) \
KERNEL op##_##name(const T* a, const T* b, T* out, i64 n, i64 na, i64 nb) { combine<fn, T>(a, b, out, n, na, nb); } \
KERNEL op##_number_##name(const T* a, T* out, i64 n, double number) { \
    WideOf<T>::type v = (WideOf<T>::type)number; \
    map(a, out, n, [=](WideOf<T>::type x) { return fn::of(x, v); }); \
}
#define COMBINATIONS(name, T) COMBINE(Add, add, name, T) COMBINE(Sub, sub, name, T) COMBINE(Mul, mul, name, T) COMBINE(Div, div, name, T)
FOR_FLOATS(COMBINATIONS)

DEVICE float sine(float x) { return sinf(x); }
DEVICE double sine(double x) { return sin(x); }
DEVICE float cosine(float x) { return cosf(x); }
DEVICE double cosine(double x) { return cos(x); }
DEVICE float expm_1(float x) { return expm1f(x); }
DEVICE double expm_1(double x) { return expm1(x); }

#define FUNCTION(fn, value, slope) \
struct fn { \
    template <class A> static DEVICE A y(A x) { return value; } \
    template <class A> static DEVICE A dx(A x) { return slope; }  /* of the output where that is what is kept */ \
};
FUNCTION(Exp, power_e(x), x)
FUNCTION(Log, log_e(x), A(1) / x)
FUNCTION(Sqrt, root(x), A(0.5) / x)
FUNCTION(Rsqrt, A(1) / root(x), A(-0.5) * x * x * x)
FUNCTION(Reciprocal, A(1) / x, -x * x)
FUNCTION(Square, x * x, A(2) * x)
FUNCTION(Abs, magnitude(x), sign_of(x))
FUNCTION(Sin, sine(x), cosine(x))
FUNCTION(Cos, cosine(x), -sine(x))
FUNCTION(Erf, error(x), A(1.1283791670955126) * power_e(-x * x))

#define FUNCTIONS(name, T) \
    ACTIVATION(Exp, exp, name, T) ACTIVATION(Log, log, name, T) ACTIVATION(Sqrt, sqrt, name, T) ACTIVATION(Rsqrt, rsqrt, name, T) \
    ACTIVATION(Reciprocal, reciprocal, name, T) ACTIVATION(Square, square, name, T) ACTIVATION(Abs, abs, name, T) \
    ACTIVATION(Sin, sin, name, T) ACTIVATION(Cos, cos, name, T) ACTIVATION(Erf, erf, name, T)
FOR_FLOATS(FUNCTIONS)

// Activations with up to three parameters.
#define PARAMETRIC(fn, value, slope) \
struct fn { \
    template <class A> static DEVICE A y(A x, A p, A q, A r) { return value; } \
    template <class A> static DEVICE A dx(A x, A p, A q, A r) { return slope; } \
};
PARAMETRIC(LeakyRelu, x > A(0) || x != x ? x : x * p, x > A(0) ? A(1) : p)
PARAMETRIC(Elu, x > A(0) || x != x ? x * q : expm_1(x * r) * p * q, x > A(0) ? q : power_e(x * r) * p * q * r)
PARAMETRIC(Softplus, x * p > q ? x : log_1p(power_e(x * p)) / p, x * p > q ? A(1) : logistic(x * p))
PARAMETRIC(Hardtanh, x < p ? p : x > q ? q : x, x > p && x < q ? A(1) : A(0))
PARAMETRIC(Hardswish, x != x ? x : x <= A(-3) ? A(0) : x >= A(3) ? x : x * (x + A(3)) / A(6),
           x <= A(-3) ? A(0) : x >= A(3) ? A(1) : x / A(3) + A(0.5))
PARAMETRIC(Hardsigmoid, x != x ? x : x <= A(-3) ? A(0) : x >= A(3) ? A(1) : (x + A(3)) / A(6), x > A(-3) && x < A(3) ? A(1) / A(6) : A(0))
PARAMETRIC(LogSigmoid, (x < A(0) ? x : A(0)) - log_1p(power_e(-magnitude(x))), logistic(-x))

#define PARAMETRIC_KERNELS(fn, op, name, T) \
KERNEL op##_##name(const T* x, T* out, i64 n, double p, double q, double r) { \
    typedef WideOf<T>::type A; \
    A a = (A)p, b = (A)q, c = (A)r; \
    map(x, out, n, [=](A v) { return fn::y(v, a, b, c); }); \
} \
KERNEL op##_backward_##name(const T* g, const T* x, T* out, i64 n, double p, double q, double r) { \
    typedef WideOf<T>::type A; \
    A a = (A)p, b = (A)q, c = (A)r; \
    map(g, x, out, n, [=](A d, A v) { return d * fn::dx(v, a, b, c); }); \
}
#define ALL_PARAMETRIC(name, T) \
    PARAMETRIC_KERNELS(LeakyRelu, leaky_relu, name, T) PARAMETRIC_KERNELS(Elu, elu, name, T) \
    PARAMETRIC_KERNELS(Softplus, softplus, name, T) PARAMETRIC_KERNELS(Hardtanh, hardtanh, name, T) \
    PARAMETRIC_KERNELS(Hardswish, hardswish, name, T) PARAMETRIC_KERNELS(Hardsigmoid, hardsigmoid, name, T) \
    PARAMETRIC_KERNELS(LogSigmoid, log_sigmoid, name, T)
FOR_FLOATS(ALL_PARAMETRIC)
