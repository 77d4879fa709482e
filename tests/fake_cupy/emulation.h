// CUDA's threads on a CPU, for testing kernels without a GPU: each thread of a block is a fiber, and barriers and shuffles
// let the others run until all have arrived. Blocks run one after the other. A kernel that never waited, the first time with
// these arguments null, runs as a plain loop from then on. Included before the kernels (engine/gpu/kernels).
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <type_traits>
#include <utility>
#include <vector>

#define EMULATED
#define DEVICE inline
#define KERNEL extern "C" void
#define SHARED static

struct Dim { unsigned x, y, z; };
static Dim threadIdx, blockIdx, blockDim, gridDim;

struct Gate { int waiting = 0; unsigned opened = 0; };
struct Fiber { ucontext_t context; jmp_buf place; Dim index; bool started, done; };
static std::vector<Fiber> fibers;
static std::vector<std::vector<char>> stacks;
static std::vector<Gate> warps;
static std::vector<double> slots;
static Gate block_gate;
static jmp_buf scheduler;  // jumps, because swapcontext asks the system for the signal mask each time
static int current;
static std::function<void()> body;
static bool waited, plain;

static void wait_at(Gate& gate) {
    waited = true;
    if (plain) return;
    unsigned before = gate.opened;
    gate.waiting++;
    while (gate.opened == before)
        if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

static inline void barrier() { wait_at(block_gate); }
template <class A> static inline A shuffle_xor(A v, int lane) {
    int me = current;
    slots[me] = (double)v;
    wait_at(warps[me / 32]);
    A other = (A)slots[me ^ lane];
    wait_at(warps[me / 32]);
    return other;
}
static inline void add_atomically(float* place, float v) { *place += v; }
static inline void add_atomically(double* place, double v) { *place += v; }
static inline unsigned high_product(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
static inline float as_float(unsigned bits) { float f; memcpy(&f, &bits, 4); return f; }
static inline unsigned as_bits(float f) { unsigned b; memcpy(&b, &f, 4); return b; }
static inline float f16_to_float(unsigned short h) { _Float16 v; memcpy(&v, &h, 2); return (float)v; }
static inline unsigned short float_to_f16(float f) { _Float16 v = (_Float16)f; unsigned short h; memcpy(&h, &v, 2); return h; }

static void enter() {
    body();
    fibers[current].done = true;
    _longjmp(scheduler, 1);
}

// Let a fiber run until it waits or ends.
static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}

static bool release(Gate& gate, int live) {
    if (!live || gate.waiting < live) return false;
    gate.waiting = 0;
    gate.opened++;
    return true;
}

// One block; false if its threads wait for each other for ever.
static bool run_block(unsigned threads) {
    fibers.resize(threads);
    stacks.resize(threads);
    slots.assign(threads + 32, 0);
    warps.assign(threads / 32 + 1, Gate());
    block_gate = Gate();
    for (unsigned t = 0; t < threads; t++) {
        stacks[t].resize(1 << 15);
        fibers[t].index = {t % blockDim.x, t / blockDim.x % blockDim.y, 0};
        fibers[t].started = fibers[t].done = false;
        getcontext(&fibers[t].context);
        fibers[t].context.uc_stack.ss_sp = stacks[t].data();
        fibers[t].context.uc_stack.ss_size = stacks[t].size();
        fibers[t].context.uc_link = nullptr;
        makecontext(&fibers[t].context, enter, 0);
    }
    for (;;) {
        int live = 0, live_before = 0;
        std::vector<int> alive(warps.size(), 0);
        for (unsigned t = 0; t < threads; t++) live_before += !fibers[t].done;
        for (unsigned t = 0; t < threads; t++) {
            if (fibers[t].done) continue;
            current = t;
            threadIdx = fibers[t].index;
            resume(fibers[t]);
        }
        for (unsigned t = 0; t < threads; t++)
            if (!fibers[t].done) { live++; alive[t / 32]++; }
        if (!live) return true;
        bool moved = live < live_before || release(block_gate, live);
        for (size_t w = 0; w < warps.size(); w++) moved = release(warps[w], alive[w]) || moved;
        if (!moved) return false;
    }
}

template <class... A, size_t... I> static void invoke(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*(A*)args[I]...);
}

// One bit for each argument, set for a null pointer: kernels may wait only where one is given.
template <class... A> static uint64_t nulls(void** args) {
    uint64_t mask = 0, at = 0;
    ((mask |= (uint64_t)(std::is_pointer<A>::value && !*(void**)args[at]) << at, at++), ...);
    return mask;
}

static void run_plain(unsigned threads) {
    for (unsigned t = 0; t < threads; t++) {
        current = t;
        threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, 0};
        body();
    }
}

template <class... A> static int emulate(void (*kernel)(A...), void** args, const unsigned* grid, const unsigned* block) {
    static std::map<std::pair<void*, uint64_t>, bool> known;  // whether it waits
    auto key = std::make_pair((void*)kernel, nulls<A...>(args));
    auto found = known.find(key);
    plain = block[0] == 256 && found != known.end() && !found->second;  // smaller ones (`recipe`) may end early
    waited = false;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = [=] { invoke(kernel, args, std::index_sequence_for<A...>()); };
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                unsigned threads = block[0] * block[1] * block[2];
                if (plain) run_plain(threads);
                else if (!run_block(threads)) return 1;
            }
    if (plain) return waited;  // it waits after all, where it should not
    known[key] = waited;
    return 0;
}
