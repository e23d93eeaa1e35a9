//! Compiler statistics of a model's hot kernels for a GPU that need not be present: registers,
//! spills, instructions and estimated throughput, from Mesa's RADV with `RADV_FORCE_FAMILY`. The
//! program `compiler MODEL[@FORMAT]…` prints them as JSON; `FORMAT` is the format to quantize
//! matrices to. Kernels and their constants are those of the models' plans; a kernel that occurs
//! with several matrix shapes is reported with its worst figures.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for the benchmark"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

use ash::vk;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use serde_json::json;
use tablm::engine::{LoadOptions, plans};
use tablm::gpu::shader::assemble;
use tablm::kernels::{Arithmetic, Kernel, MatvecStrategy, Reduction};
use tablm::weights::disk::open_path;

/// Prefixes of the names of kernels that take most of a step's time.
const HOT: &[&str] = &["matvec", "matmul", "attention", "ssm_"];
/// Strategies of matrix-vector products to compile.
const STRATEGIES: [MatvecStrategy; 5] = [
    MatvecStrategy::in_f32(Reduction::WorkgroupReduce),
    MatvecStrategy::in_f32(Reduction::WorkgroupReduce32),
    MatvecStrategy::in_f32(Reduction::SubgroupReduce),
    MatvecStrategy::new(Reduction::WorkgroupReduce32, Arithmetic::F16),
    MatvecStrategy::new(Reduction::WorkgroupReduce32, Arithmetic::Dp4a),
];
/// Statistics to report: our name and the driver's.
const STATISTICS: &[(&str, &str)] = &[
    ("registers", "VGPRs"),
    ("spills", "Spilled VGPRs"),
    ("instructions", "Instructions"),
    ("inverse_throughput", "Inverse Throughput"),
];
/// Binding size that every WebGPU adapter offers.
const MAX_BINDING_BYTES: u64 = 128 << 20;

fn main() {
    let device = Device::open();
    let mut seen = BTreeSet::new();
    let mut kernels: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for model in std::env::args().skip(1) {
        for kernel in hot_kernels(&model) {
            let code = spirv(&kernel);
            let name = kernel.title();
            if !seen.insert((name.clone(), code.clone())) {
                continue;
            }
            let worst = kernels.entry(name).or_default();
            for (key, value) in device.statistics(&code, &kernel) {
                let worst = worst.entry(key).or_default();
                *worst = value.max(*worst);
            }
        }
    }
    println!("{}", json!({"compiler": device.name, "kernels": kernels}));
}

/// Returns the hot kernels of all plans of a model.
fn hot_kernels(model: &str) -> Vec<Kernel> {
    let (path, format) =
        model.split_once('@').map_or((model, None), |(path, format)| (path, Some(format)));
    let quantize = format.map(|format| serde_json::from_value(json!(format)).expect("a format"));
    let options = LoadOptions { quantize, ..LoadOptions::default() };
    let files = open_path(path.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    let plans = pollster::block_on(plans(files, &options, MAX_BINDING_BYTES));
    let plans = plans.unwrap_or_else(|error| panic!("{path}: {error}"));
    let with_strategy = |strategy: &MatvecStrategy| {
        let mut plans = plans.clone();
        plans.iter_mut().for_each(|plan| plan.use_strategy(*strategy));
        plans
    };
    let kernels = STRATEGIES
        .iter()
        .flat_map(with_strategy)
        .flat_map(|plan| plan.kernels)
        .map(|planned| planned.kernel);
    kernels.filter(|kernel| HOT.iter().any(|name| kernel.name().starts_with(name))).collect()
}

/// Translates the kernel to SPIR-V as wgpu does, with bounds checks of buffers left to the driver.
fn spirv(kernel: &Kernel) -> Vec<u32> {
    let text =
        assemble(kernel.shader(), &kernel.imports(), kernel.matrix().map(|matrix| matrix.format))
            .unwrap();
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(&text)));
    let info =
        Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).unwrap();
    let constants =
        kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let stage = (naga::ShaderStage::Compute, "main");
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some(stage), &constants)
            .unwrap();
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: BoundsCheckPolicy::Unchecked,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::Native,
        ..spv::Options::default()
    };
    let main = spv::PipelineOptions { shader_stage: stage.0, entry_point: stage.1.to_owned() };
    spv::write_vec(&module, &info, &options, Some(&main)).unwrap()
}

/// The Vulkan device of the emulated chip, for its compiler only.
struct Device {
    name: String,
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    // Must outlive the device.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

impl Device {
    fn open() -> Self {
        // SAFETY: the calls follow the Vulkan specification; no object is destroyed before the end.
        unsafe {
            let entry = ash::Entry::load().expect("no Vulkan loader");
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&instance, None).expect("no Vulkan driver");
            let physical = instance.enumerate_physical_devices().unwrap()[0];
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let text = |text: &CStr| text.to_string_lossy().into_owned();
            let chip = text(properties.properties.device_name_as_c_str().unwrap());
            let name = format!("{chip}, {}", text(driver.driver_info_as_c_str().unwrap()));
            let device = logical_device(&instance, physical);
            let executables =
                ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Self { name, device, executables, _instance: instance, _entry: entry }
        }
    }

    /// Compiles the kernel and returns the driver's statistics, with our names.
    fn statistics(&self, code: &[u32], kernel: &Kernel) -> Vec<(&'static str, u64)> {
        // SAFETY: as in `open`; the layouts are those of the kernel's bindings.
        let found = unsafe {
            let layout = self.layout(kernel);
            let module = vk::ShaderModuleCreateInfo::default().code(code);
            let module = self.device.create_shader_module(&module, None).unwrap();
            let stage = vk::PipelineShaderStageCreateInfo::default();
            let stage = stage.stage(vk::ShaderStageFlags::COMPUTE).module(module).name(c"main");
            let pipeline = vk::ComputePipelineCreateInfo::default();
            let pipeline = pipeline
                .stage(stage)
                .layout(layout)
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR);
            let made =
                self.device.create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None);
            let pipeline = made.map_err(|(_, error)| error).unwrap()[0];
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            self.executables.get_pipeline_executable_statistics(&executable).unwrap()
        };
        let value = |wanted: &str| {
            let named = |found: &&vk::PipelineExecutableStatisticKHR| {
                found.name_as_c_str().is_ok_and(|name| name.to_bytes() == wanted.as_bytes())
            };
            let found =
                found.iter().find(named).unwrap_or_else(|| panic!("the driver has no {wanted}"));
            // SAFETY: the statistics in `STATISTICS` have the unsigned format.
            unsafe { found.value.u64 }
        };
        STATISTICS.iter().map(|(key, name)| (*key, value(name))).collect()
    }

    /// Creates the pipeline layout: the step's uniform and the buffers in group 0, the matrix's
    /// planes in group 1.
    ///
    /// # Safety
    /// The caller uses the layout with this device only.
    unsafe fn layout(&self, kernel: &Kernel) -> vk::PipelineLayout {
        let storage = vk::DescriptorType::STORAGE_BUFFER;
        let mut groups = vec![vec![vk::DescriptorType::UNIFORM_BUFFER]];
        groups[0].extend(kernel.bindings().iter().map(|_| storage));
        groups.extend(
            kernel
                .matrix()
                .map(|matrix| vec![storage; matrix.format.rules().plane_row_bytes(1024).len()]),
        );
        let set = |types: &Vec<vk::DescriptorType>| {
            let binding = |(index, ty): (usize, &vk::DescriptorType)| {
                let binding = vk::DescriptorSetLayoutBinding::default()
                    .binding(index as u32)
                    .descriptor_type(*ty);
                binding.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
            };
            let bindings: Vec<_> = types.iter().enumerate().map(binding).collect();
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            // SAFETY: as the function's documentation requires.
            unsafe { self.device.create_descriptor_set_layout(&set, None).unwrap() }
        };
        let sets: Vec<_> = groups.iter().map(set).collect();
        let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: as the function's documentation requires.
        unsafe { self.device.create_pipeline_layout(&layout, None).unwrap() }
    }
}

/// Creates a device with all supported features of Vulkan 1.3, robust buffer access as wgpu
/// requires it, and pipeline statistics.
///
/// # Safety
/// `physical` belongs to `instance`.
unsafe fn logical_device(instance: &ash::Instance, physical: vk::PhysicalDevice) -> ash::Device {
    let mut of_1_1 = vk::PhysicalDeviceVulkan11Features::default();
    let mut of_1_2 = vk::PhysicalDeviceVulkan12Features::default();
    let mut of_1_3 = vk::PhysicalDeviceVulkan13Features::default();
    let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
    let mut statistics = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
    let mut features = vk::PhysicalDeviceFeatures2::default()
        .push_next(&mut of_1_1)
        .push_next(&mut of_1_2)
        .push_next(&mut of_1_3)
        .push_next(&mut robust)
        .push_next(&mut statistics);
    // SAFETY: as the function's documentation requires.
    unsafe { instance.get_physical_device_features2(physical, &mut features) };
    let queue =
        [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
    let extensions = [ash::khr::pipeline_executable_properties::NAME, ash::ext::robustness2::NAME];
    let extensions = extensions.map(CStr::as_ptr);
    let device = vk::DeviceCreateInfo::default().queue_create_infos(&queue);
    let device = device.enabled_extension_names(&extensions).push_next(&mut features);
    // SAFETY: as the function's documentation requires.
    unsafe { instance.create_device(physical, &device, None).expect("no device with statistics") }
}
