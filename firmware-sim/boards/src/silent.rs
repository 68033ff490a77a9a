//! An image without the feature `log` writes no records.

use bissl_firmware::{Fault, Tick};

pub fn tick(_: u64, _: &Tick) {}

pub fn finished(_: u64, _: u64) {}

pub fn stopped(_: u64, _: &Fault) {}
