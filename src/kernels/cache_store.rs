//! Append of a step's keys or values to the cache of a layer.

use super::cache::{Cache, CacheFormat};
use super::{Activation, Binding, CpuMemory, Import, KernelRules, Step};

/// `cache[row of position + row] = x[row]`, rounded to the cache's format.
#[derive(Debug, Clone)]
pub struct CacheStore {
    /// Keys or values of the step, `[rows, kv_head_count * head_dim]`.
    pub x: Activation,
    /// Key or value cache of the layer.
    pub cache: Cache,
}

impl CacheStore {
    /// Parts of a row; an invocation stores one: a quad, or two groups that share a word of scales.
    fn parts(&self) -> u32 {
        match self.cache.rows.format {
            CacheFormat::F32 | CacheFormat::F16 => self.x.width / 4,
            CacheFormat::Q8 => self.x.width.div_ceil(64),
        }
    }
}

impl KernelRules for CacheStore {
    const NAME: &'static str = "cache_store";
    const SHADER: &'static str = include_wgsl!("../../shaders/cache_store.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![Binding::read(self.x.buffer), Binding::write(self.cache.buffer)]
    }

    fn imports(&self) -> Vec<Import> {
        let file = match self.cache.rows.format {
            CacheFormat::F32 => "caches/f32_store",
            CacheFormat::F16 => "caches/f16_store",
            CacheFormat::Q8 => "caches/q8_store",
        };
        vec![("store", file)]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let ring = self.cache.rows.ring_length();
        let own = [("PARTS", self.parts().into()), ("RING", ring.into())];
        self.x.constants().into_iter().chain(own).collect()
    }

    fn workgroups(&self, step: Step) -> [u32; 3] {
        [self.parts().div_ceil(64), step.rows, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        memory.update(self.cache.buffer, |memory, words| {
            for row in 0..step.rows {
                let rows = self.cache.rows;
                let cached = rows.row_of(step.position + row) as usize;
                rows.write(words, cached, memory.row(&self.x, row));
            }
        });
    }
}
