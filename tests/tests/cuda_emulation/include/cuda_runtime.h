// As much of CUDA as the generated kernels use, on one thread of a CPU.
//
// A cube's threads are fibers that run from barrier to barrier, forwards and backwards by turns (and
// every other cube begins backwards), so that a barrier that is missing shows. Shared memory starts as NaN, and nothing may be written past it.
#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(threads)
#define __grid_constant__
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
    unsigned x, y, z;
};
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
static uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;
/// As much as a cube of an H100 may have, and room to see what is written past it.
alignas(1024) unsigned char dynamic_shared_mem[232448 + 64];

template <class A, class B> static inline auto min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b));
    else return std::min(T(a), T(b));
}
template <class A, class B> static inline auto max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b));
    else return std::max(T(a), T(b));
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
static inline float fma(float a, float b, float c) { return std::fmaf(a, b, c); }
static inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace emulation {

enum class State { ready, at_cube_barrier, at_warp_barrier, done };

struct Fiber {
    ucontext_t start;
    jmp_buf at;
    std::vector<char> stack = std::vector<char>(1 << 16);
    State state;
    bool started;
    uint3 thread;
};

static std::vector<Fiber> fibers;
static Fiber *current;
static jmp_buf scheduler;
static const char *failure;

static void fail(const char *what) { failure = failure ? failure : what; }

static unsigned lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize;
}

static void wait(State state) {
    current->state = state;
    if (_setjmp(current->at) == 0) _longjmp(scheduler, 1);
}

static void resume(Fiber &fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.at, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

/// Lets the threads of `[first, last)` go on that wait at a barrier which all others have reached.
static bool release(size_t first, size_t last, State barrier) {
    size_t waiting = 0, ended = 0;
    for (size_t i = first; i < last; i++) {
        waiting += fibers[i].state == barrier;
        ended += fibers[i].state == State::done;
    }
    if (waiting == 0 || waiting + ended < last - first) return false;
    for (size_t i = first; i < last; i++)
        if (fibers[i].state == barrier) fibers[i].state = State::ready;
    return true;
}

template <class Kernel> struct Body {
    static Kernel *kernel;
    static void run() {
        (*kernel)();
        current->state = State::done;
        _longjmp(scheduler, 1);
    }
};
template <class Kernel> Kernel *Body<Kernel>::kernel;

static uint3 position(unsigned thread) {
    return {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

template <class Kernel> static void run_fibers(Kernel &kernel) {
    size_t threads = blockDim.x * blockDim.y * blockDim.z;
    Body<Kernel>::kernel = &kernel;
    if (fibers.size() < threads) fibers.resize(threads);
    for (size_t i = 0; i < threads; i++) {
        Fiber &fiber = fibers[i];
        getcontext(&fiber.start);
        fiber.start.uc_stack = {fiber.stack.data(), 0, fiber.stack.size()};
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, &Body<Kernel>::run, 0);
        fiber.state = State::ready;
        fiber.started = false;
        fiber.thread = position(i);
    }
    bool backwards = (blockIdx.x + blockIdx.y + blockIdx.z) % 2;
    for (bool going = true; going; backwards = !backwards) {
        for (size_t i = 0; i < threads; i++) {
            Fiber &fiber = fibers[backwards ? threads - 1 - i : i];
            if (fiber.state == State::ready) resume(fiber);
        }
        going = false;
        for (size_t warp = 0; warp < threads; warp += warpSize)
            going |= release(warp, std::min(warp + warpSize, threads), State::at_warp_barrier);
        going |= release(0, threads, State::at_cube_barrier);
    }
    for (size_t i = 0; i < threads; i++)
        if (fibers[i].state != State::done) fail("a barrier that not all threads reach");
}

template <bool barriers, class... Parameters, size_t... index>
static const char *launch(void (*kernel)(Parameters...), void **arguments, const unsigned *grid,
                          const unsigned *block, size_t shared, std::index_sequence<index...>) {
    auto body = [&] { kernel(*static_cast<std::remove_const_t<Parameters> *>(arguments[index])...); };
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    failure = nullptr;
    for (unsigned i = 0; i < grid[0] * grid[1] * grid[2] && !failure; i++) {
        blockIdx = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
        std::memset(dynamic_shared_mem, 0xff, shared + 64);
        if constexpr (barriers) {
            run_fibers(body);
        } else {
            for (unsigned thread = 0; thread < block[0] * block[1] * block[2]; thread++) {
                threadIdx = position(thread);
                body();
            }
        }
        for (size_t past = shared; past < shared + 64; past++)
            if (dynamic_shared_mem[past] != 0xff) fail("written past the shared memory");
    }
    return failure;
}

} // namespace emulation

static inline void __syncthreads() { emulation::wait(emulation::State::at_cube_barrier); }
static inline void __syncwarp() { emulation::wait(emulation::State::at_warp_barrier); }

/// `entry` takes what cuLaunchKernel does: a pointer to every argument.
#define EMULATE(entry, kernel, barriers)                                                             \
    template <class... P> static auto entry##_indices(void (*)(P...)) {                             \
        return std::index_sequence_for<P...>();                                                      \
    }                                                                                                \
    extern "C" const char *entry(void **arguments, const unsigned *grid, const unsigned *block,      \
                                 size_t shared) {                                                    \
        return emulation::launch<barriers>(kernel, arguments, grid, block, shared,                   \
                                           entry##_indices(kernel));                                 \
    }
