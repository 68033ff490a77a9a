//! Matrix products through the `gemm` crate, single-threaded: callers split the work.

use crate::kernels::Real;

/// A matrix in a slice: `rows × cols`, element (i, j) at `i·row_stride + j·col_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Number of columns.
    pub(crate) cols: usize,
    /// Distance between neighbours in a column.
    pub(crate) row_stride: usize,
    /// Distance between neighbours in a row.
    pub(crate) col_stride: usize,
}

impl Layout {
    /// Row-major, dense.
    pub(crate) fn dense(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same memory, read as the transpose.
    #[must_use]
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    fn extent(&self) -> usize {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride + 1
    }
}

/// What happens to the destination's old content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Into {
    /// It is not read.
    Overwrite,
    /// The product is added to it.
    Accumulate,
}

/// `dst ← a b` or `dst ← dst + a b`.
///
/// # Panics
/// Shapes do not fit, or a slice is shorter than its layout says.
pub(crate) fn gemm<T: Real>(
    (dst, dst_layout): (&mut [T], Layout),
    (a, a_layout): (&[T], Layout),
    (b, b_layout): (&[T], Layout),
    into: Into,
) {
    let (m, k, n) = (a_layout.rows, a_layout.cols, b_layout.cols);
    assert_eq!((dst_layout.rows, dst_layout.cols, k), (m, n, b_layout.rows), "shapes fit");
    assert!(dst_layout.extent() <= dst.len(), "destination is as long as its layout");
    assert!(a_layout.extent() <= a.len(), "left operand is as long as its layout");
    assert!(b_layout.extent() <= b.len(), "right operand is as long as its layout");
    let beta = T::one();
    let alpha = if into == Into::Accumulate { T::one() } else { T::zero() };
    // SAFETY: the three layouts were checked to be inside their slices, `dst` is borrowed mutably
    // and so overlaps neither operand, and all strides are non-negative.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            dst_layout.col_stride as isize,
            dst_layout.row_stride as isize,
            into == Into::Accumulate,
            a.as_ptr(),
            a_layout.col_stride as isize,
            a_layout.row_stride as isize,
            b.as_ptr(),
            b_layout.col_stride as isize,
            b_layout.row_stride as isize,
            alpha,
            beta,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
