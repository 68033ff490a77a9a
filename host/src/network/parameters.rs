//! The table of a flat parameter vector (names, shapes, offsets, initial values), and a layer's
//! view of such a vector.

use bissl_core::Stream;
use burn_tensor::Tensor;

use crate::kernels::{Kernels, Precision};

/// Initial values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// All zeros.
    Zero,
    /// All ones.
    One,
    /// Normal with variance 2/fan_out (He et al. 2015), as in torchvision's ResNets.
    KaimingFanOut,
    /// Normal with variance 2/fan_in (He et al. 2015). A ReLU layer then preserves the size of its
    /// input, which nothing else does in a network without batch norm.
    KaimingFanIn,
    /// Uniform in ±1/√fan_in, as in torch's linear layers.
    UniformFanIn,
}

/// One tensor of the vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name, as in torchvision.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
    /// Its initial values.
    pub init: Init,
}

impl Segment {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Always false: every tensor has elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tensors of a flat vector, in order and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterTable {
    segments: Vec<Segment>,
    len: usize,
}

impl ParameterTable {
    /// Appends a tensor; returns its offset.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], init: Init) -> usize {
        let offset = self.len;
        let segment = Segment { name: name.into(), shape: shape.to_vec(), offset, init };
        self.len += segment.len();
        self.segments.push(segment);
        offset
    }

    /// The tensors, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of elements of the vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bounds of the segments: `segments + 1` offsets, from 0 to [`ParameterTable::len`].
    pub fn offsets(&self) -> Vec<usize> {
        self.segments.iter().map(|s| s.offset).chain([self.len]).collect()
    }

    /// The initial vector. Element `i` is drawn at index `i` of the stream, so it depends only on
    /// the seed and its index.
    pub fn initial(&self, stream: Stream) -> Vec<f32> {
        let mut values = vec![0.0; self.len];
        for segment in &self.segments {
            let range = segment.offset..segment.offset + segment.len();
            let receptive: usize = segment.shape.iter().skip(2).product();
            let fan_out = segment.shape.first().copied().unwrap_or(1) * receptive;
            let fan_in = segment.shape.get(1).copied().unwrap_or(fan_out) * receptive;
            for (index, value) in range.clone().zip(&mut values[range]) {
                let mut draws = stream.at(index as u64);
                *value = match segment.init {
                    Init::Zero => 0.0,
                    Init::One => 1.0,
                    Init::KaimingFanOut => draws.normal() * libm::sqrtf(2.0 / fan_out as f32),
                    Init::KaimingFanIn => draws.normal() * libm::sqrtf(2.0 / fan_in as f32),
                    Init::UniformFanIn => {
                        let bound = 1.0 / libm::sqrtf(fan_in as f32);
                        draws.uniform_in(-bound, bound)
                    }
                };
            }
        }
        values
    }
}

/// A layer's own tensors in a flat vector: of parameters, their tangents, or running statistics.
#[derive(Debug)]
pub struct Parameters<'a, B: Kernels> {
    flat: &'a Tensor<B, 1>,
    segments: &'a [Segment],
    precision: Precision,
}

// Not derived: that would require `B: Clone`.
impl<B: Kernels> Clone for Parameters<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Kernels> Copy for Parameters<'_, B> {}

impl<'a, B: Kernels> Parameters<'a, B> {
    /// The tensors of `segments` in `flat`. On devices, products with them round their operands to
    /// `precision`.
    pub fn new(flat: &'a Tensor<B, 1>, segments: &'a [Segment], precision: Precision) -> Self {
        Self { flat, segments, precision }
    }

    /// Tensor `number` of the layer, counted from 0 in the order of its layout.
    ///
    /// # Panics
    /// If the layer has no such tensor, or the tensor has another rank.
    pub fn tensor<const D: usize>(&self, number: usize) -> Tensor<B, D> {
        let shape = self.segments[number].shape.as_slice();
        self.reshaped(number, shape.try_into().expect("the rank of the layout"))
    }

    /// [`Parameters::tensor`] in another shape with as many elements.
    ///
    /// # Panics
    /// If the layer has no such tensor, or the shape has another number of elements.
    pub fn reshaped<const D: usize>(&self, number: usize, shape: [usize; D]) -> Tensor<B, D> {
        let segment = &self.segments[number];
        self.flat.clone().slice(segment.offset..segment.offset + segment.len()).reshape(shape)
    }

    /// What matrix products and convolutions round their operands to on devices.
    pub fn precision(&self) -> Precision {
        self.precision
    }
}
