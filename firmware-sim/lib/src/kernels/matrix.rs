//! Matrices as parts of slices.

use core::slice::ChunksExact;

use crate::network::at_least_one;

/// A matrix by rows: row `r` is the `columns` floats that begin at `r · stride`.
///
/// With a stride below `columns` rows overlap: these are the windows of a convolution, without a
/// copy.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    stride: usize,
}

/// A matrix to write to.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows` × `columns` of `data`; a row begins every `stride` floats.
    pub fn new(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, stride }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Floats from the start of a row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The floats, from the start of the first row on.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Row `r`; `None` after the last.
    pub fn row(&self, r: usize) -> Option<&'a [T]> {
        if r >= self.rows {
            return None;
        }
        self.data.get(r.wrapping_mul(self.stride)..)?.get(..self.columns)
    }
}

impl<'a, T> Matrix<'a, T> {
    /// Rows `r` to `r + 3`, all of one length; `None` if there are fewer.
    #[inline(always)]
    pub(super) fn four(&self, r: usize) -> Option<[&'a [T]; 4]> {
        if r.checked_add(4)? > self.rows {
            return None;
        }
        let rest = self.data.get(r.wrapping_mul(self.stride)..)?;
        let first = rest.get(..self.columns)?;
        let rest = rest.get(self.stride..)?;
        let second = rest.get(..self.columns)?;
        let rest = rest.get(self.stride..)?;
        let third = rest.get(..self.columns)?;
        let fourth = rest.get(self.stride..)?.get(..self.columns)?;
        Some([first, second, third, fourth])
    }

    /// Of each row but the last, `stride` floats from column `i` on, which run into the next row;
    /// then what is left from column `i` of the last row on.
    ///
    /// A loop over pieces of equal length is cheap.
    #[inline(always)]
    pub(super) fn columns_from(&self, i: usize) -> (ChunksExact<'a, T>, &'a [T]) {
        let data = self.data.get(i..).unwrap_or(&[]);
        let before = self.rows.saturating_sub(1).wrapping_mul(self.stride);
        let (body, last) = data.split_at_checked(before).unwrap_or((&[], &[]));
        (body.chunks_exact(at_least_one(self.stride)), last)
    }
}

impl<T> MatrixMut<'_, T> {
    /// `rows` × `columns` of `data`; a row begins every `stride` floats.
    pub fn new(data: &mut [T], rows: usize, columns: usize, stride: usize) -> MatrixMut<'_, T> {
        MatrixMut { data, rows, columns, stride }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Floats from the start of a row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The same matrix, for one call.
    pub fn reborrow(&mut self) -> MatrixMut<'_, T> {
        let Self { data, rows, columns, stride } = self;
        MatrixMut { data, rows: *rows, columns: *columns, stride: *stride }
    }

    /// Rows `r` to `r + 3`, all of one length; `None` if there are fewer, or if they overlap.
    #[inline(always)]
    pub(super) fn four(&mut self, r: usize) -> Option<[&mut [T]; 4]> {
        if r.checked_add(4)? > self.rows {
            return None;
        }
        let rest = self.data.get_mut(r.wrapping_mul(self.stride)..)?;
        let (first, rest) = rest.split_at_mut_checked(self.stride)?;
        let (second, rest) = rest.split_at_mut_checked(self.stride)?;
        let (third, fourth) = rest.split_at_mut_checked(self.stride)?;
        let columns = self.columns;
        Some([
            first.get_mut(..columns)?,
            second.get_mut(..columns)?,
            third.get_mut(..columns)?,
            fourth.get_mut(..columns)?,
        ])
    }

    /// Row `r`; `None` after the last.
    pub fn row(&mut self, r: usize) -> Option<&mut [T]> {
        if r >= self.rows {
            return None;
        }
        self.data.get_mut(r.wrapping_mul(self.stride)..)?.get_mut(..self.columns)
    }
}
