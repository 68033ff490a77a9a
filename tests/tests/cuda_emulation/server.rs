//! The server of the runtime: its memory is that of this process, and its launches have ended when
//! they return.

use std::collections::HashMap;
use std::sync::Arc;

use cubecl_common::bytes::Bytes;
use cubecl_common::profile::ProfileDuration;
use cubecl_common::stream_id::StreamId;
use cubecl_core::future::DynFut;
use cubecl_core::prelude::{CubeCount, ExecutionMode};
use cubecl_core::{MemoryConfiguration, MemoryUsage};
use cubecl_runtime::allocator::PitchedMemoryLayoutPolicy;
use cubecl_runtime::compiler::CubeTask;
use cubecl_runtime::id::KernelId;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::{
    ManagedMemoryHandle, MemoryAllocationMode, MemoryManagement, MemoryManagementOptions,
};
use cubecl_runtime::server::{
    Binding, ComputeServer, CopyDescriptor, IoError, KernelArguments, ProfileError, ProfilingToken,
    ServerCommunication, ServerError, ServerUtilities,
};
use cubecl_runtime::storage::{
    ComputeStorage, ManagedResource, StorageHandle, StorageId, StorageUtilization,
};
use cubecl_runtime::timestamp_profiler::TimestampProfiler;

use super::kernel::Kernel;
use super::runtime::CudaCompiler;

/// Device memory.
#[derive(Default)]
pub(crate) struct Blocks(HashMap<StorageId, Vec<u64>>);

/// A part of a block.
pub(crate) struct Block {
    start: *mut u8,
    len: usize,
}

// SAFETY: only the server's thread uses the memory that it points to.
unsafe impl Send for Block {}

impl Block {
    fn bytes(&mut self) -> &'static mut [u8] {
        // SAFETY: the pool gives no part to two handles, and keeps a block as long as a handle
        // exists.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl ComputeStorage for Blocks {
    type Resource = Block;

    fn alignment(&self) -> usize {
        align_of::<u64>()
    }

    fn get(&mut self, handle: &StorageHandle) -> Block {
        let block = self.0.get_mut(&handle.id).expect("a block that exists");
        let (offset, len) = (handle.offset() as usize, handle.size() as usize);
        assert!(offset + len <= size_of_val(block.as_slice()), "a part of a block");
        // SAFETY: it is within the block, by the line above.
        Block { start: unsafe { block.as_mut_ptr().cast::<u8>().add(offset) }, len }
    }

    fn alloc(&mut self, size: u64) -> Result<StorageHandle, IoError> {
        let id = StorageId::new();
        self.0.insert(id, vec![0; (size as usize).div_ceil(size_of::<u64>())]);
        Ok(StorageHandle::new(id, StorageUtilization { offset: 0, size }))
    }

    fn dealloc(&mut self, id: StorageId) {
        self.0.remove(&id);
    }

    fn flush(&mut self) {}
}

pub(crate) struct Server {
    utilities: Arc<ServerUtilities<Self>>,
    memory: MemoryManagement<Blocks>,
    kernels: HashMap<KernelId, Kernel>,
    timestamps: TimestampProfiler,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub(crate) fn new(utilities: ServerUtilities<Self>) -> Self {
        let memory = MemoryManagement::from_configuration(
            Blocks::default(),
            &utilities.properties.memory,
            MemoryConfiguration::ExclusivePages,
            utilities.logger.clone(),
            MemoryManagementOptions::new("emulated device"),
        );
        Self {
            utilities: Arc::new(utilities),
            memory,
            kernels: HashMap::new(),
            timestamps: TimestampProfiler::default(),
        }
    }

    fn resource(&mut self, binding: Binding) -> Block {
        let Binding { memory, offset_start, offset_end, .. } = binding;
        self.memory.get_resource(memory, offset_start, offset_end).expect("memory that exists")
    }

    /// The memory that a binding may use, without what the pool adds to it.
    fn bytes(&mut self, binding: Binding) -> &'static mut [u8] {
        let len = binding.size_in_used() as usize;
        &mut self.resource(binding).bytes()[..len]
    }
}

/// Length of a tensor's rows and their offsets in device memory, in bytes.
fn rows(d: &CopyDescriptor) -> (usize, impl Iterator<Item = usize> + use<>) {
    let rank = d.shape.len();
    let width = d.shape.last().copied().unwrap_or(1) * d.elem_size;
    let count: usize = d.shape.iter().rev().skip(1).product();
    let pitch = if rank > 1 { d.strides[rank - 2] * d.elem_size } else { width };
    (width, (0..count).map(move |row| row * pitch))
}

impl ComputeServer for Server {
    type Kernel = Box<dyn CubeTask<CudaCompiler>>;
    type Storage = Blocks;
    type MemoryLayoutPolicy = PitchedMemoryLayoutPolicy;
    type Info = ();

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, _: StreamId) {
        let reserved = self.memory.reserve(size).expect("memory enough");
        self.memory.bind(reserved, memory.clone(), 0).expect("memory that was just reserved");
        // Filled with NaN, which appears in the result if memory is read before it is written.
        let binding = cubecl_runtime::memory_management::MemoryHandle::binding(memory);
        self.memory.get_resource(binding, None, None).expect("memory").bytes().fill(0xff);
    }

    fn read(
        &mut self,
        descriptors: Vec<CopyDescriptor>,
        _: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let read = |descriptor: CopyDescriptor| {
            let (width, offsets) = rows(&descriptor);
            let from = self.bytes(descriptor.handle);
            let dense: Vec<u8> = offsets.flat_map(|at| from[at..at + width].to_vec()).collect();
            Bytes::from_bytes_vec(dense)
        };
        let all = descriptors.into_iter().map(read).collect();
        Box::pin(async move { Ok(all) })
    }

    fn write(&mut self, descriptors: Vec<(CopyDescriptor, Bytes)>, _: StreamId) {
        for (descriptor, data) in descriptors {
            let (width, offsets) = rows(&descriptor);
            let to = self.bytes(descriptor.handle);
            for (index, at) in offsets.enumerate() {
                to[at..at + width].copy_from_slice(&data[index * width..][..width]);
            }
        }
    }

    fn sync(&mut self, _: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }

    fn get_resource(
        &mut self,
        binding: Binding,
        _: StreamId,
    ) -> Result<ManagedResource<Block>, ServerError> {
        let memory = binding.memory.clone();
        Ok(ManagedResource::new(memory, self.resource(binding)))
    }

    unsafe fn launch(
        &mut self,
        task: Self::Kernel,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        _: StreamId,
    ) {
        let mut id = task.id();
        id.mode(mode);
        let CubeCount::Static(x, y, z) = count else { panic!("a count of cubes in memory") };
        let buffers: Vec<_> =
            arguments.buffers.into_iter().map(|binding| self.bytes(binding)).collect();
        let kernel = self.kernels.entry(id).or_insert_with(|| Kernel::compile(&*task, mode));
        kernel.run(&buffers, &arguments.info, [x, y, z]);
    }

    fn flush(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_usage(&mut self, _: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(self.memory.memory_usage())
    }

    fn memory_cleanup(&mut self, _: StreamId) {
        self.memory.cleanup(true);
    }

    fn start_profile(&mut self, _: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.timestamps.start())
    }

    fn end_profile(
        &mut self,
        _: StreamId,
        token: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        self.timestamps.stop(token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, _: StreamId) {
        self.memory.mode(mode);
    }
}

impl ServerCommunication for Server {
    const SERVER_COMM_ENABLED: bool = false;
}
