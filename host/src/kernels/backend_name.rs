//! The table of the backends. A backend is a row here, a feature of its name, its type in
//! [`kernels`](super), and a file with its [`Kernels`](super::Kernels).

use crate::names::names;

/// Calls a macro with a row for each backend: name, feature and spelling, type, bytes of an
/// element, and whether it computes in this process's memory (`host`) or on a `device`.
macro_rules! backends {
    ($then:ident) => {
        $then! {
            /// CPU, pure Rust.
            Flex, "flex", Flex, 4, host;
            /// CPU, candle.
            Candle, "candle", Candle, 4, host;
            /// NVIDIA GPU.
            Cuda, "cuda", Cuda, 4, device;
            /// GPU through Vulkan, Metal or DirectX 12.
            Wgpu, "wgpu", Wgpu, 4, device;
            /// CPU, f64 oracle on small networks.
            Ndarray, "ndarray", NdArray, 8, host;
        }
    };
}
pub(crate) use backends;

macro_rules! is_device {
    (host) => {
        false
    };
    (device) => {
        true
    };
}

macro_rules! named {
    ($($(#[$meta:meta])* $name:ident, $text:literal, $type:ident, $bytes:literal, $place:ident;)+) => {
        names! {
            /// What computes; a binary holds those that it was built with.
            BackendName {
                $($(#[$meta])* $name = $text,)+
            }
        }

        impl BackendName {
            /// Whether it computes on a device with memory of its own.
            pub(crate) fn on_device(self) -> bool {
                match self { $(Self::$name => is_device!($place),)+ }
            }

            /// Bytes of one element of a vector: 4 or 8.
            pub(crate) fn element_bytes(self) -> u64 {
                match self { $(Self::$name => $bytes,)+ }
            }
        }
    };
}
backends!(named);
