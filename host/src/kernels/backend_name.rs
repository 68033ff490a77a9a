//! The names of the backends.

use crate::names::names;

names! {
    /// What computes; a binary holds those that it was built with.
    BackendName {
        /// CPU, pure Rust.
        Flex = "flex",
        /// CPU, candle.
        Candle = "candle",
        /// NVIDIA GPU.
        Cuda = "cuda",
        /// GPU through Vulkan, Metal or DirectX 12.
        Wgpu = "wgpu",
        /// CPU, f64 oracle on small networks.
        Ndarray = "ndarray",
    }
}

impl BackendName {
    /// Whether it computes on a device with memory of its own.
    pub fn on_device(self) -> bool {
        match self {
            Self::Cuda | Self::Wgpu => true,
            Self::Flex | Self::Candle | Self::Ndarray => false,
        }
    }
}
