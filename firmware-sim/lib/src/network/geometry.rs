//! A layer's linear map as matrix products on parts of its arrays.

use crate::model::{Convolution, Layer};

/// Where a matrix is in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) stride: usize,
}

/// One product, `y += x wᵀ`. The two other products use the same parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) x: Part,
    pub(super) w: Part,
    pub(super) y: Part,
}

/// Calls `each` on the matrix products whose sum is the linear map of `layer` on `rows` samples.
///
/// A dense layer is one product. A convolution is one for each sample, output row and kernel row:
/// channel-last, the windows along a row are overlapping rows of a matrix, so nothing has to be
/// unfolded. Callers go through a table, so that one copy of this serves all passes.
pub(super) fn products(
    layer: &Layer,
    rows: usize,
    each: &mut dyn FnMut(Product) -> Option<()>,
) -> Option<()> {
    match layer {
        Layer::Dense { inputs, outputs, .. } => {
            let (inputs, outputs) = (usize::from(*inputs), usize::from(*outputs));
            each(Product {
                x: Part { start: 0, rows, columns: inputs, stride: inputs },
                w: Part { start: 0, rows: outputs, columns: inputs, stride: inputs },
                y: Part { start: 0, rows, columns: outputs, stride: outputs },
            })
        }
        Layer::Convolution(convolution) => {
            for sample in 0..rows {
                of_sample(convolution, sample, each)?;
            }
            Some(())
        }
        Layer::AveragePool { .. } => Some(()),
    }
}

fn of_sample(
    convolution: &Convolution,
    sample: usize,
    each: &mut dyn FnMut(Product) -> Option<()>,
) -> Option<()> {
    let channels = usize::from(convolution.channels);
    let filters = usize::from(convolution.filters);
    let [kernel_rows, kernel_columns] = convolution.kernel.map(usize::from);
    let [down, right] = convolution.stride.map(usize::from);
    let [rows, positions] = convolution.output();
    let line = usize::from(convolution.width) * channels;
    let input = usize::from(convolution.height) * line;
    let columns = kernel_columns * channels;
    for row in 0..rows {
        let y = (sample * rows + row) * positions * filters;
        for kernel_row in 0..kernel_rows {
            let x = sample * input + (row * down + kernel_row) * line;
            each(Product {
                x: Part { start: x, rows: positions, columns, stride: right * channels },
                w: Part {
                    start: kernel_row * columns,
                    rows: filters,
                    columns,
                    stride: kernel_rows * columns,
                },
                y: Part { start: y, rows: positions, columns: filters, stride: filters },
            })?;
        }
    }
    Some(())
}
