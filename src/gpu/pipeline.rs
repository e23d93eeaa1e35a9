//! Compiled kernels: one pipeline per shader, weight format and set of constants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use serde::Serialize;

use super::device::Gpu;
use super::shader;
use crate::error::Result;
use crate::formats::Format;
use crate::kernels::{Import, Kernel};

/// A compiled kernel and the layouts of its bind groups: 0 for activations, 1 for the planes of the
/// weight matrix.
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layouts: Vec<wgpu::BindGroupLayout>,
}

/// Key of a shader module: kernel, imports and weight format.
type ModuleKey = (&'static str, Vec<Import>, Option<Format>);

/// Key of a pipeline: its module, and the bits of its constants.
type PipelineKey = (ModuleKey, Vec<u64>);

fn key(kernel: &Kernel) -> PipelineKey {
    let format = kernel.matrix().map(|matrix| matrix.format);
    let bits = kernel.constants().iter().map(|(_, value)| value.to_bits()).collect();
    ((kernel.name(), kernel.imports(), format), bits)
}

/// Everything that determines a pipeline, so that the host can compile it ahead of the executor.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineText {
    label: &'static str,
    code: String,
    constants: BTreeMap<&'static str, f64>,
    /// WebGPU buffer types, per bind group.
    groups: Vec<Vec<&'static str>>,
}

impl PipelineText {
    /// The distinct pipelines of some kernels.
    pub fn of<'a>(kernels: impl Iterator<Item = &'a Kernel>) -> Result<Vec<Self>> {
        let mut seen = HashSet::new();
        let text = |kernel: &Kernel| -> Result<Self> {
            let format = kernel.matrix().map(|matrix| matrix.format);
            let name = |ty: &wgpu::BufferBindingType| match ty {
                wgpu::BufferBindingType::Uniform => "uniform",
                wgpu::BufferBindingType::Storage { read_only: true } => "read-only-storage",
                wgpu::BufferBindingType::Storage { read_only: false } => "storage",
            };
            let groups = binding_types(kernel, format);
            Ok(Self {
                label: kernel.name(),
                code: shader::assemble(kernel.shader(), &kernel.imports(), format)?,
                constants: kernel.constants().into_iter().collect(),
                groups: groups.iter().map(|types| types.iter().map(name).collect()).collect(),
            })
        };
        kernels.filter(|kernel| seen.insert(key(kernel))).map(text).collect()
    }
}

/// Pipelines and shader modules compiled so far.
#[derive(Default)]
pub(super) struct PipelineCache {
    pipelines: HashMap<PipelineKey, Rc<Pipeline>>,
    modules: HashMap<ModuleKey, wgpu::ShaderModule>,
}

impl PipelineCache {
    /// Number of pipelines.
    pub(super) fn len(&self) -> usize {
        self.pipelines.len()
    }

    /// Returns the kernel's pipeline, compiled on first use.
    pub(super) fn get(&mut self, gpu: &Gpu, kernel: &Kernel) -> Result<Rc<Pipeline>> {
        let format = kernel.matrix().map(|matrix| matrix.format);
        let constants = kernel.constants();
        let key = key(kernel);
        if let Some(pipeline) = self.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let layouts = layouts(gpu, kernel, format);
        let references: Vec<_> = layouts.iter().map(Some).collect();
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name()),
            bind_group_layouts: &references,
            immediate_size: 0,
        });
        let module = match self.modules.entry(key.0.clone()) {
            std::collections::hash_map::Entry::Occupied(module) => module.into_mut(),
            std::collections::hash_map::Entry::Vacant(empty) => {
                let text = shader::assemble(kernel.shader(), &kernel.imports(), format)?;
                empty.insert(gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(kernel.name()),
                    source: wgpu::ShaderSource::Wgsl(text.into()),
                }))
            }
        };
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name()),
            layout: Some(&layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        });
        let pipeline = Rc::new(Pipeline { pipeline, layouts });
        self.pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

/// Buffer types of the bindings, per bind group.
fn binding_types(kernel: &Kernel, format: Option<Format>) -> Vec<Vec<wgpu::BufferBindingType>> {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let mut groups = vec![vec![wgpu::BufferBindingType::Uniform]];
    groups[0].extend(kernel.bindings().iter().map(|binding| storage(!binding.write)));
    if let Some(format) = format {
        groups.push(vec![storage(true); format.rules().plane_count()]);
    }
    groups
}

fn layouts(gpu: &Gpu, kernel: &Kernel, format: Option<Format>) -> Vec<wgpu::BindGroupLayout> {
    let layout = |types: &Vec<wgpu::BufferBindingType>| {
        let entry = |(binding, ty): (usize, &wgpu::BufferBindingType)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: *ty,
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = types.iter().enumerate().map(entry).collect();
        let label = Some(kernel.name());
        gpu.device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries })
    };
    binding_types(kernel, format).iter().map(layout).collect()
}
