//! A cubecl runtime: CUDA as cubecl sees an H100, with kernels that run on the CPU.

use std::sync::Arc;

use burn_backend::DeviceOps;
use burn_cubecl::CubeBackend;
use cubecl_common::device::{Device, DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl_common::profile::TimingMethod;
use cubecl_core::Runtime;
use cubecl_core::ir::features::Plane;
use cubecl_core::ir::{
    DeviceProperties, ElemType, FloatKind, HardwareProperties, MemoryDeviceProperties,
    TargetProperties, features::TypeUsage,
};
use cubecl_core::zspace::striding::has_pitched_row_major_strides;
use cubecl_core::zspace::{Shape, Strides};
use cubecl_cpp::cuda::CudaDialect;
use cubecl_cpp::cuda::arch::CudaArchitecture;
use cubecl_cpp::cuda::mma::CudaWmmaCompiler;
use cubecl_cpp::shared::{
    CompilationOptions, CppCompiler, CppSupportedFeatures, register_wmma_features,
};
use cubecl_cpp::{DialectWmmaCompiler, register_supported_types};
use cubecl_runtime::allocator::PitchedMemoryLayoutPolicy;
use cubecl_runtime::client::ComputeClient;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::server::{ComputeServer, ServerUtilities};

use super::server::Server;

/// The backend of the tests.
pub(crate) type Emulated = CubeBackend<EmulatedCuda, f32, i32, u8>;

/// The compiler of cubecl-cuda.
pub(crate) type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// The compute capability whose sources are run.
const ARCHITECTURE: CudaArchitecture = CudaArchitecture { version: 90 };
/// Alignment in bytes of CUDA's memory and, where CUDA pads them, of rows.
const ALIGNMENT: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct EmulatedCuda;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmulatedDevice;

impl Device for EmulatedDevice {
    fn from_id(_: DeviceId) -> Self {
        Self
    }

    fn to_id(&self) -> DeviceId {
        DeviceId { type_id: 0, index_id: 0 }
    }
}

impl DeviceOps for EmulatedDevice {}

/// The options that cubecl-cuda's runtime passes to the compiler on sm_90.
pub(crate) fn options() -> CompilationOptions {
    CompilationOptions {
        warp_size: 32,
        supports_features: CppSupportedFeatures {
            grid_constants: true,
            clusters: true,
            fast_math: true,
            fast_tanh: false,
            elect_sync: true,
        },
    }
}

/// The properties that cubecl-cuda's runtime reports for an H100, as far as kernels need them.
fn properties() -> DeviceProperties {
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 232_448,
        max_cube_count: (i32::MAX as u32, 65_535, 65_535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(132),
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        num_cpu_cores: None,
        max_vector_size: 16,
    };
    let memory = MemoryDeviceProperties { max_page_size: 1 << 32, alignment: ALIGNMENT as u64 };
    let mut properties =
        DeviceProperties::new(Default::default(), memory, hardware, TimingMethod::System);
    register_supported_types(&mut properties);
    properties.register_type_usage(ElemType::Float(FloatKind::TF32), TypeUsage::Conversion);
    properties.features.plane.insert(Plane::Sync);
    properties.features.plane.insert(Plane::Ops);
    properties.features.plane.insert(Plane::NonUniformControlFlow);
    properties.features.memory_reinterpret = true;
    properties.features.alignment = true;
    let tensor_cores = CudaWmmaCompiler::supported_wmma_combinations(&ARCHITECTURE);
    register_wmma_features(tensor_cores, &mut properties);
    properties
}

impl DeviceService for Server {
    fn init(_: DeviceId) -> Self {
        let policy = PitchedMemoryLayoutPolicy::new(ALIGNMENT);
        let logger = Arc::new(ServerLogger::default());
        Self::new(ServerUtilities::new(properties(), logger, (), policy))
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        ComputeServer::utilities(self) as ServerUtilitiesHandle
    }
}

impl Runtime for EmulatedCuda {
    type Compiler = CudaCompiler;
    type Server = Server;
    type Device = EmulatedDevice;

    fn client(device: &Self::Device) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_: &ComputeClient<Self>) -> &'static str {
        "emulated cuda"
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        (i32::MAX as u32, 65_535, 65_535)
    }

    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        has_pitched_row_major_strides(shape, strides)
    }

    fn target_properties() -> TargetProperties {
        TargetProperties { mma: Default::default() }
    }

    fn enumerate_devices(_: u16, _: &()) -> Vec<DeviceId> {
        vec![EmulatedDevice.to_id()]
    }
}
