//! Structures of parameters seen as vectors.

use crate::Blank;

/// A structure of parameters as a vector: a fixed sequence of segments, one for each tensor.
///
/// A momentum, a gradient, a search direction have the structure of what they belong to, so no flat
/// array has to be cut into tensors at run time.
pub trait Vector<T>: Blank {
    /// Calls `visit` on each segment of the two, in order.
    fn zip(&self, other: &Self, visit: &mut impl FnMut(&[T], &[T]));

    /// The same with the right to write to `self`.
    fn zip_mut(&mut self, other: &Self, visit: &mut impl FnMut(&mut [T], &[T]));

    /// Calls `visit` on each segment, in order.
    fn each_mut(&mut self, visit: &mut impl FnMut(&mut [T]));
}

impl<T> Vector<T> for () {
    fn zip(&self, (): &Self, _: &mut impl FnMut(&[T], &[T])) {}

    fn zip_mut(&mut self, (): &Self, _: &mut impl FnMut(&mut [T], &[T])) {}

    fn each_mut(&mut self, _: &mut impl FnMut(&mut [T])) {}
}

/// The parameters of two layers in sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<A, B> {
    /// Those of the first.
    pub first: A,
    /// Those of the second.
    pub second: B,
}

impl<A: Blank, B: Blank> Blank for Pair<A, B> {
    const BLANK: Self = Self { first: A::BLANK, second: B::BLANK };
}

impl<T, A: Vector<T>, B: Vector<T>> Vector<T> for Pair<A, B> {
    fn zip(&self, other: &Self, visit: &mut impl FnMut(&[T], &[T])) {
        self.first.zip(&other.first, visit);
        self.second.zip(&other.second, visit);
    }

    fn zip_mut(&mut self, other: &Self, visit: &mut impl FnMut(&mut [T], &[T])) {
        self.first.zip_mut(&other.first, visit);
        self.second.zip_mut(&other.second, visit);
    }

    fn each_mut(&mut self, visit: &mut impl FnMut(&mut [T])) {
        self.first.each_mut(visit);
        self.second.each_mut(visit);
    }
}
