// One pass over many tensors in few launches: their common norm, and a factor on all of them. A launch gets the addresses and
// sizes of up to MANY tensors by value, so nothing has to be copied to the device beforehand.

#define MANY 96
#define CHUNK 32768  // elements that one block takes

struct Tensors {
    u64 at[MANY];
    i64 size[MANY];
    int first[MANY];  // the number of each tensor's first block
    int count;
};

// Which tensor this block works on, and the stretch of it: elements [from, to).
struct Stretch { int tensor; i64 from, to; };

DEVICE Stretch stretch(const Tensors& t) {
    int low = 0, high = t.count - 1, block = blockIdx.x;
    while (low < high) {  // the last tensor that begins at or before this block
        int middle = (low + high + 1) / 2;
        if (t.first[middle] <= block) low = middle; else high = middle - 1;
    }
    Stretch s;
    s.tensor = low;
    s.from = (i64)(block - t.first[low]) * CHUNK;
    s.to = s.from + CHUNK < t.size[low] ? s.from + CHUNK : t.size[low];
    return s;
}

DEVICE float power_of(float x, float p) { return powf(x, p); }
DEVICE double power_of(double x, double p) { return pow(x, p); }
template <class A> DEVICE A magnitude(A x) { return x < A(0) ? -x : x; }

// What an element adds to a norm: kind 2: x * x, 1: |x|, 3: |x|^order, 4: |x|, of which the largest counts
template <class A> DEVICE A term(A x, int kind, A order) {
    return kind == 2 ? x * x : kind == 3 ? power_of(magnitude(x), order) : magnitude(x);
}

template <class A> DEVICE A joined(A v, int kind) { return kind == 4 ? over_row<Max>(v, A(0)) : over_row<Sum>(v, A(0)); }
template <class A> DEVICE A join(A a, A b, int kind) { return kind == 4 ? Max::of(a, b) : a + b; }

template <class T> DEVICE void norm_many(const Tensors& t, typename WideOf<T>::type* parts, int first_part, int kind, double order) {
    typedef typename WideOf<T>::type A;
    Stretch s = stretch(t);
    const T* x = (const T*)t.at[s.tensor];
    A total = 0;
    const int k = 16 / sizeof(T);
    i64 whole = aligned(x) ? s.from + (s.to - s.from) / k * k : s.from;  // stretches begin at multiples of 16 bytes
    for (i64 i = s.from / k + threadIdx.x; i < whole / k; i += blockDim.x) {
        Pack<T> pack = ((const Pack<T>*)x)[i];
        for (int j = 0; j < k; j++) total = join(total, term((A)load(pack.v[j]), kind, (A)order), kind);
    }
    for (i64 i = whole + threadIdx.x; i < s.to; i += blockDim.x) total = join(total, term((A)load(x[i]), kind, (A)order), kind);
    total = joined(total, kind);
    if (threadIdx.x == 0) parts[first_part + blockIdx.x] = total;
}

// The norm of all parts; always in the same order, so that it comes out the same each time.
template <class T> DEVICE void norm_of_parts(const typename WideOf<T>::type* parts, T* out, int count, int kind, double order) {
    typedef typename WideOf<T>::type A;
    A total = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) total = join(total, parts[i], kind);
    total = joined(total, kind);
    if (threadIdx.x == 0)
        *out = Store<T>::of(kind == 2 ? root(total) : kind == 3 ? power_of(total, A(1) / (A)order) : total);
}

// x *= min(1, most / (norm + 1e-6)); nothing is written where that is 1
template <class T> DEVICE void clip_many(const Tensors& t, const T* norm, double most) {
    typedef typename WideOf<T>::type A;
    A factor = (A)most / ((A)load(*norm) + A(1e-6));
    if (factor >= A(1)) return;
    Stretch s = stretch(t);
    T* x = (T*)t.at[s.tensor];
    for (i64 i = s.from + threadIdx.x; i < s.to; i += blockDim.x) x[i] = Store<T>::of(load(x[i]) * factor);
}

#define MANY_TENSORS(name, T) \
KERNEL norm_many_##name(Tensors tensors, WideOf<T>::type* parts, int first_part, int kind, double order) { \
    norm_many<T>(tensors, parts, first_part, kind, order); \
} \
KERNEL norm_of_parts_##name(const WideOf<T>::type* parts, T* out, int count, int kind, double order) { \
    norm_of_parts<T>(parts, out, count, kind, order); \
} \
KERNEL clip_many_##name(Tensors tensors, const T* norm, double most) { clip_many<T>(tensors, norm, most); }
FOR_FLOATS(MANY_TENSORS)
