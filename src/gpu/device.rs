//! The adapter and the device: features and limits, allocated bytes, errors.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::counters::Counting;
use crate::error::{Code, Error, Result};

/// Features that kernels or profiles use if the adapter has them, by their WebGPU names.
const OPTIONAL_FEATURES: [(&str, wgpu::Features); 3] = [
    ("shader-f16", wgpu::Features::SHADER_F16),
    ("subgroups", wgpu::Features::SUBGROUP),
    ("timestamp-query", wgpu::Features::TIMESTAMP_QUERY),
];

/// Properties of an adapter.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AdapterReport {
    /// Name of the adapter.
    pub name: String,
    /// Graphics API, e.g. `vulkan` or `webgpu`.
    pub interface: String,
    /// Driver and its version, or another property that its speed depends on.
    pub driver: String,
    /// `discrete`, `integrated`, `cpu`, …
    pub kind: String,
    /// Optional features, by their WebGPU names; `subgroups-of-8` if subgroups have at least eight
    /// lanes.
    pub features: Vec<String>,
    /// Maximum size of a buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Maximum size of a storage binding, in bytes.
    pub max_binding_bytes: u64,
}

impl AdapterReport {
    /// Maximum size of a buffer that a shader can bind, in bytes.
    pub fn max_bound_bytes(&self) -> u64 {
        self.max_buffer_bytes.min(self.max_binding_bytes)
    }
}

/// Properties of an adapter that the host knows and the graphics API hides, as browsers do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AdapterHints {
    /// See [`AdapterReport::name`].
    pub name: Option<String>,
    /// See [`AdapterReport::driver`].
    pub driver: Option<String>,
    /// See [`AdapterReport::kind`].
    pub kind: Option<String>,
    /// Optional features that every device of the adapter has, by their WebGPU names.
    pub features: Vec<String>,
}

/// Size of the buffer that is allocated for `size_bytes` bytes.
pub fn buffer_bytes(size_bytes: u64) -> u64 {
    size_bytes.next_multiple_of(16).max(16)
}

/// First error that the device reported outside an error scope.
type Failure = Arc<Mutex<Option<Error>>>;

/// An open device.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Properties of the adapter.
    pub report: AdapterReport,
    allocated_bytes: Cell<u64>,
    pub(super) counting: Counting,
    failure: Failure,
}

/// Requests the fastest adapter; also returns the WGSL language features.
async fn adapter() -> Result<(wgpu::Adapter, wgpu::WgslLanguageFeatures)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // Exceeding the system's memory budget, where it reports one, is an error of buffer creation.
    descriptor.memory_budget_thresholds.for_resource_creation = Some(100);
    let instance = wgpu::Instance::new(descriptor);
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = instance.request_adapter(&options).await;
    let adapter =
        adapter.map_err(|error| Error::new(Code::NoGpu, format!("no GPU adapter: {error}")))?;
    Ok((adapter, instance.wgsl_language_features()))
}

fn report_of(
    found: &(wgpu::Adapter, wgpu::WgslLanguageFeatures),
    hints: &AdapterHints,
) -> AdapterReport {
    let (adapter, language) = found;
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    // Browsers may hide the name; vendor or driver stand in for it.
    let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
    let hinted = hints.name.clone().unwrap_or_default();
    let of_8 = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size >= 8;
    let names = [hinted, info.name, info.driver_info, info.driver, info.vendor.to_string()];
    let has_dp4a = language.contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct);
    let is_hinted = |name: &str| hints.features.iter().any(|hinted| hinted == name);
    AdapterReport {
        name: names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(),
        interface: info.backend.to_string(),
        driver: hints.driver.clone().unwrap_or(driver),
        kind: hints
            .kind
            .clone()
            .unwrap_or_else(|| format!("{:?}", info.device_type).to_lowercase()),
        features: OPTIONAL_FEATURES
            .iter()
            .filter(|(name, feature)| features.contains(*feature) || is_hinted(name))
            .map(|(name, _)| *name)
            .chain(of_8.then_some("subgroups-of-8"))
            .chain(has_dp4a.then_some("packed_4x8_integer_dot_product"))
            .map(str::to_owned)
            .collect(),
        max_buffer_bytes: limits.max_buffer_size,
        max_binding_bytes: limits.max_storage_buffer_binding_size,
    }
}

impl Gpu {
    /// Properties of the fastest adapter, without opening it; `no-gpu` if there is none.
    pub async fn probe(hints: &AdapterHints) -> Result<AdapterReport> {
        Ok(report_of(&adapter().await?, hints))
    }

    /// Opens the fastest adapter with all its limits; `no-gpu` if there is none or it refuses.
    pub async fn open(hints: &AdapterHints) -> Result<Self> {
        let found = adapter().await?;
        let adapter = &found.0;
        let wanted = OPTIONAL_FEATURES
            .iter()
            .fold(wgpu::Features::empty(), |all, (_, feature)| all | *feature);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("tablm"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            // Buffers are created once: memory that wgpu allocates ahead would be wasted.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            Error::new(Code::NoGpu, format!("GPU adapter refused to open a device: {error}"))
        })?;
        let failure = Failure::default();
        let note = |failure: &Failure, error: Error| {
            if let Ok(mut first) = failure.lock() {
                first.get_or_insert(error);
            }
        };
        let seen = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let code = match error {
                wgpu::Error::OutOfMemory { .. } => Code::OutOfMemory,
                _ => Code::Internal,
            };
            note(&seen, Error::new(code, format!("GPU: {error}")));
        }));
        let seen = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            let message = format!("GPU device was lost: {reason:?} {message}");
            note(&seen, Error::new(Code::DeviceLost, message));
        });
        let report = report_of(&found, hints);
        let (allocated_bytes, counting) = (Cell::new(0), Counting::default());
        Ok(Self { device, queue, report, allocated_bytes, counting, failure })
    }

    /// Returns the first error that the device reported since it was opened, if any.
    pub fn check(&self) -> Result<()> {
        match self.failure.lock() {
            Ok(failure) => failure.clone().map_or(Ok(()), Err),
            Err(_) => Err(Error::internal("the GPU's failure record is poisoned")),
        }
    }

    /// Bytes of all buffers that were created and not [`Self::freed`].
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes.get()
    }

    /// Subtracts buffers of `size_bytes` bytes that were dropped from [`Self::allocated_bytes`].
    pub fn freed(&self, size_bytes: u64) {
        self.allocated_bytes.set(self.allocated_bytes.get() - size_bytes);
    }

    /// Creates a zeroed buffer of at least `size_bytes` bytes.
    pub(super) fn buffer(
        &self,
        label: &str,
        size_bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        let size = buffer_bytes(size_bytes);
        self.allocated_bytes.set(self.allocated_bytes.get() + size);
        let label = Some(label);
        let descriptor = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    /// Runs `work` in error scopes: returns the validation or out-of-memory error that it caused on
    /// the GPU, if any.
    pub(super) async fn checked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let done = work();
        if let Some(error) = memory.pop().await {
            let bytes = self.allocated_bytes();
            let message = format!("GPU memory: found no room for {bytes} bytes in total: {error}");
            return Err(Error::new(Code::OutOfMemory, message));
        }
        if let Some(error) = validation.pop().await {
            return Err(Error::internal(format!("GPU: {error}")));
        }
        self.check()?;
        done
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.device.destroy();
    }
}
