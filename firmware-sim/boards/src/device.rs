//! What this board trains, and with which loops.

#[cfg(not(small))]
pub use bissl_firmware::{Blocked as Kernels, DigitsDevice as Device};
/// The board has 16 KiB of RAM, and little flash.
#[cfg(small)]
pub use bissl_firmware::{Compact as Kernels, SmallDigitsDevice as Device};
