//! Appends the step's keys or values to a layer's cache.

use super::{Activation, Binding, Buffer, CpuMemory, KernelRules, Step};

/// `cache[position + row] = x[row]`.
#[derive(Debug, Clone)]
pub struct CacheStore {
    /// New keys or values, `[rows, kv_head_count * head_dim]`.
    pub x: Activation,
    /// The cache, `[context, kv_head_count * head_dim]`, rows close together.
    pub cache: Buffer,
}

impl KernelRules for CacheStore {
    const NAME: &'static str = "cache_store";
    const SHADER: &'static str = include_str!("../../shaders/cache_store.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.cache)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("WIDTH", self.x.width.into()), ("STRIDE", self.x.stride.into())]
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.x.width.div_ceil(64), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let width = self.x.width as usize;
        memory.update(self.cache, |memory, cache| {
            for row in 0..step.rows {
                let start = (step.position + row) as usize * width;
                cache[start..start + width].copy_from_slice(memory.row(&self.x, row));
            }
        });
    }
}
