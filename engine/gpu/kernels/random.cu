// Random fills. `state` holds the seed and the offset of the generator on the device; `step` counts the draws since then, so
// that a captured graph draws anew in every replay. Four words serve four floats or two doubles.

struct UniformDraw {
    static DEVICE void four(Words w, float low, float width, float* out) {
        for (int j = 0; j < 4; j++) out[j] = low + unit(w.v[j]) * width;
    }
    static DEVICE void two(Words w, double low, double width, double* out) {
        out[0] = low + unit(w.v[0], w.v[1]) * width;
        out[1] = low + unit(w.v[2], w.v[3]) * width;
    }
};

struct NormalDraw {  // Box and Muller
    static DEVICE void four(Words w, float mean, float std, float* out) {
        for (int j = 0; j < 4; j += 2) {
            float radius = sqrtf(-2.0f * logf(1.0f - unit(w.v[j]))), angle = 6.283185307179586f * unit(w.v[j + 1]);
            out[j] = mean + std * radius * cosf(angle);
            out[j + 1] = mean + std * radius * sinf(angle);
        }
    }
    static DEVICE void two(Words w, double mean, double std, double* out) {
        double radius = sqrt(-2.0 * log(1.0 - unit(w.v[0], w.v[1]))), angle = 6.283185307179586 * unit(w.v[2], w.v[3]);
        out[0] = mean + std * radius * cos(angle);
        out[1] = mean + std * radius * sin(angle);
    }
};

template <class D, class T> DEVICE void draw(T* out, i64 n, float a, float b, const u64* state, u64 step) {
    FOR_EACH(i, (n + 3) / 4) {
        float v[4];
        D::four(philox(state[0], state[1] + step, i), a, b, v);
        for (int j = 0; j < 4 && 4 * i + j < n; j++) out[4 * i + j] = Store<T>::of(v[j]);
    }
}

template <class D> DEVICE void draw(double* out, i64 n, double a, double b, const u64* state, u64 step) {
    FOR_EACH(i, (n + 1) / 2) {
        double v[2];
        D::two(philox(state[0], state[1] + step, i), a, b, v);
        for (int j = 0; j < 2 && 2 * i + j < n; j++) out[2 * i + j] = v[j];
    }
}

#define DRAWS(name, T) \
KERNEL uniform_##name(T* out, i64 n, double low, double width, const u64* state, u64 step) { \
    draw<UniformDraw>(out, n, (WideOf<T>::type)low, (WideOf<T>::type)width, state, step); \
} \
KERNEL normal_##name(T* out, i64 n, double mean, double std, const u64* state, u64 step) { \
    draw<NormalDraw>(out, n, (WideOf<T>::type)mean, (WideOf<T>::type)std, state, step); \
}
FOR_FLOATS(DRAWS)

// 1 with probability p.
KERNEL bernoulli(u8* out, i64 n, double p, const u64* state, u64 step) {
    FOR_EACH(i, (n + 3) / 4) {
        Words w = philox(state[0], state[1] + step, i);
        for (int j = 0; j < 4 && 4 * i + j < n; j++) out[4 * i + j] = (double)w.v[j] * 2.3283064365386963e-10 < p;
    }
}

// Integers in [low, low + range); range 0 stands for 2**64.
KERNEL integers(i64* out, i64 n, i64 low, u64 range, const u64* state, u64 step) {
    FOR_EACH(i, (n + 1) / 2) {
        Words w = philox(state[0], state[1] + step, i);
        for (int j = 0; j < 2 && 2 * i + j < n; j++) {
            u64 bits = ((u64)w.v[2 * j] << 32) | w.v[2 * j + 1];
            out[2 * i + j] = low + (i64)(range ? bits % range : bits);
        }
    }
}

// The end of a captured graph: the next replay draws after this one.
KERNEL advance(u64* state, u64 draws) {
    if (thread_index() == 0) state[1] += draws;
}
