// Tensor cores: the first lane of a warp holds whole matrices, the others nothing.
#pragma once
#include "cuda_bf16.h"
#include "cuda_runtime.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

/// To the nearest, ties away from zero.
static inline float __float_to_tf32(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & ~0x1fffu;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <class T> struct element { using type = T; };
template <> struct element<precision::tf32> { using type = float; };

template <class Use, int m, int n, int k, class T, class Layout = void> struct fragment {
    static constexpr int rows = std::is_same_v<Use, matrix_b> ? k : m;
    static constexpr int cols = std::is_same_v<Use, matrix_a> ? k : n;
    static constexpr int num_elements = rows * cols;
    typename element<T>::type x[rows * cols];
};

/// What a tensor core reads of an element: it ignores the digits that the format lacks.
template <class T, class E> static float seen(E x) {
    float value = x;
    if constexpr (std::is_same_v<T, precision::tf32>) {
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        bits &= ~0x1fffu;
        std::memcpy(&value, &bits, 4);
    }
    return value;
}

template <class E> static void check(const E *at, unsigned stride) {
    if (reinterpret_cast<uintptr_t>(at) % 32) emulation::fail("a matrix not at 256 bits");
    if (stride * sizeof(E) % 16) emulation::fail("the stride of a matrix not of 128 bits");
}

template <class U, int m, int n, int k, class T, class L, class E>
static void load(fragment<U, m, n, k, T, L> &f, const E *from, unsigned stride, bool by_rows) {
    check(from, stride);
    if (emulation::lane() != 0) return;
    for (int r = 0; r < f.rows; r++)
        for (int c = 0; c < f.cols; c++)
            f.x[r * f.cols + c] = by_rows ? from[r * stride + c] : from[c * stride + r];
}

template <class U, int m, int n, int k, class T, class L, class E>
static void load_matrix_sync(fragment<U, m, n, k, T, L> &f, const E *from, unsigned stride) {
    load(f, from, stride, std::is_same_v<L, row_major>);
}

template <int m, int n, int k, class T, class E>
static void load_matrix_sync(fragment<accumulator, m, n, k, T> &f, const E *from, unsigned stride,
                             layout_t layout) {
    load(f, from, stride, layout == mem_row_major);
}

template <class U, int m, int n, int k, class T, class L, class V>
static void fill_fragment(fragment<U, m, n, k, T, L> &f, V value) {
    if (emulation::lane() == 0) std::fill(f.x, f.x + f.num_elements, value);
}

/// Products are exact; their order, and how many are rounded together, is the device's affair.
template <int m, int n, int k, class T, class LA, class LB>
static void mma_sync(fragment<accumulator, m, n, k, float> &d,
                     const fragment<matrix_a, m, n, k, T, LA> &a,
                     const fragment<matrix_b, m, n, k, T, LB> &b,
                     const fragment<accumulator, m, n, k, float> &c) {
    if (emulation::lane() != 0) return;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = c.x[i * n + j];
            for (int l = 0; l < k; l++) sum += double(seen<T>(a.x[i * k + l])) * seen<T>(b.x[l * n + j]);
            d.x[i * n + j] = float(sum);
        }
}

template <int m, int n, int k, class T, class E>
static void store_matrix_sync(E *to, const fragment<accumulator, m, n, k, T> &f, unsigned stride,
                              layout_t layout) {
    check(to, stride);
    if (emulation::lane() != 0) return;
    for (int r = 0; r < m; r++)
        for (int c = 0; c < n; c++)
            to[layout == mem_row_major ? r * stride + c : c * stride + r] = f.x[r * n + c];
}

} // namespace nvcuda::wmma
