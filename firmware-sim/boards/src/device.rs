//! What this board trains, and with which kernels.

#[cfg(not(any(small, feature = "compact")))]
pub use bissl_firmware::Blocked as Kernels;
#[cfg(any(small, feature = "compact"))]
pub use bissl_firmware::Compact as Kernels;
#[cfg(not(small))]
pub use bissl_firmware::DigitsDevice as Device;
/// The board has 16 KiB of RAM, and little flash.
#[cfg(small)]
pub use bissl_firmware::SmallDigitsDevice as Device;
