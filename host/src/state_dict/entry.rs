//! Tensors as they lie in a file.

use std::ops::Range;

use super::element::Element;

/// Where bytes lie in a file, and their checksum where the file has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bytes: Range<usize>,
    pub(super) crc: Option<u32>,
}

impl Place {
    /// # Errors
    /// The checksum is another.
    pub(super) fn check(&self, file: &[u8]) -> Result<(), String> {
        let bytes = file.get(self.bytes.clone()).ok_or("it reaches beyond the end of the file")?;
        match self.crc {
            Some(expected) if rawzip::crc32(bytes) != expected => Err(format!(
                "its checksum is {:08x}, expected {expected:08x}",
                rawzip::crc32(bytes)
            )),
            _ => Ok(()),
        }
    }
}

/// One tensor: a view of a storage. Offset and strides in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) element: Element,
    pub(super) storage: Place,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Strides of a tensor that is stored row by row; `None` if its size is no number of this machine.
pub(super) fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis])?;
    }
    Some(strides)
}

impl Entry {
    /// The values in row-major order; `None` of other elements than floats.
    ///
    /// # Errors
    /// It reaches beyond its storage, or a value is not finite.
    pub(super) fn values(&self, file: &[u8]) -> Result<Option<Vec<f32>>, String> {
        if matches!(self.element, Element::Other { .. }) {
            return Ok(None);
        }
        let bytes = file.get(self.storage.bytes.clone()).ok_or("its storage is cut off")?;
        let stored = bytes.len() / self.element.bytes();
        let count = self.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        // An expanded view has strides of 0: then a few bytes could stand for any number of
        // elements.
        let count = count.filter(|count| *count <= stored).ok_or_else(|| {
            format!("shape {:?} does not fit its storage of {stored} elements", self.shape)
        })?;
        if count == 0 {
            return Ok(Some(Vec::new()));
        }
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |at, (size, stride)| {
                at.checked_add((size - 1).checked_mul(*stride)?)
            });
        if last.is_none_or(|last| last >= stored) {
            return Err(format!(
                "offset {}, shape {:?} and strides {:?} reach beyond its storage of {stored} elements",
                self.offset, self.shape, self.strides
            ));
        }
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let at: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            let from = (self.offset + at) * self.element.bytes();
            let value = self.element.value(&bytes[from..]).expect("a float, see above");
            if !value.is_finite() {
                return Err(format!("element {index:?} is {value}, expected a finite number"));
            }
            values.push(value);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Some(values))
    }
}
