//! GPU prefill, CPU decode: chunks of a prompt run on the GPU, single tokens on the CPU, each with
//! its own copy of the weights. Before a step, its executor receives the KV positions and recurrent
//! state written since it last ran.

use std::collections::BTreeSet;
use std::rc::Rc;

use web_time::Instant;

use super::{Runner, cpu_words, read_cpu_parts};
use crate::cpu::CpuExecutor;
use crate::engine::clock::milliseconds;
use crate::engine::plans::PlanPurpose;
use crate::engine::state::{StateLayout, StatePart};
use crate::error::Result;
use crate::gpu::{Gpu, GpuExecutor};
use crate::plan::{Resources, TensorShapes, assign_slots};

/// Words of state that one read-back from the GPU transfers.
pub(in crate::engine) const HANDOVER_WORDS: u64 = 1 << 20;

/// Number of read-backs that are timed; the fastest counts.
const MEASURED_READBACKS: usize = 3;

/// A GPU executor and a CPU executor that share one sequence.
pub(in crate::engine) struct HybridExecutor {
    pub(super) gpu: GpuExecutor,
    pub(super) cpu: CpuExecutor,
    layout: StateLayout,
    /// True if the GPU ran the last step, so that its state is complete.
    is_on_gpu: bool,
    /// Leading positions whose state both executors have.
    common_positions: u32,
    /// Sets of copies that the GPU holds; the CPU holds the others.
    sets_on_gpu: BTreeSet<usize>,
}

impl HybridExecutor {
    /// Joins two executors of the same resources, whose state has the given layout.
    pub(in crate::engine) fn new(gpu: GpuExecutor, cpu: CpuExecutor, layout: StateLayout) -> Self {
        let sets_on_gpu = BTreeSet::new();
        Self { gpu, cpu, layout, is_on_gpu: false, common_positions: 0, sets_on_gpu }
    }

    /// True if plans for a purpose run on the GPU.
    pub(in crate::engine) fn runs_on_gpu(purpose: PlanPurpose) -> bool {
        purpose == PlanPurpose::Prefill
    }

    /// The executor of plans for a purpose.
    pub(super) fn runner(&mut self, purpose: PlanPurpose) -> Runner<'_> {
        match Self::runs_on_gpu(purpose) {
            true => Runner::Gpu(&mut self.gpu),
            false => Runner::Cpu(&mut self.cpu),
        }
    }

    /// Copies the state before `position` that the executor of the next step lacks.
    pub(super) async fn hand_over(&mut self, purpose: PlanPurpose, position: u32) -> Result<()> {
        let to_gpu = Self::runs_on_gpu(purpose);
        self.common_positions = self.common_positions.min(position);
        if to_gpu == self.is_on_gpu {
            return Ok(());
        }
        // At position 0 both executors have zeros.
        if position > 0 {
            let parts = self.layout.parts(self.common_positions..position);
            match to_gpu {
                true => self.copy_to_gpu(&parts),
                false => self.copy_to_cpu(&parts).await?,
            }
        }
        self.common_positions = position;
        self.is_on_gpu = to_gpu;
        Ok(())
    }

    fn copy_to_gpu(&self, parts: &[StatePart]) {
        for (index, range) in parts {
            let words = cpu_words(&self.cpu, *index, range);
            self.gpu.write_shared(*index, range.start, words);
        }
    }

    async fn copy_to_cpu(&mut self, parts: &[StatePart]) -> Result<()> {
        let words = self.gpu.read_parts(parts).await?;
        let mut rest = &words[..];
        for (index, range) in parts {
            let (part, others) = rest.split_at((range.end - range.start) as usize);
            self.cpu.write_shared(*index, range.start, part);
            rest = others;
        }
        Ok(())
    }

    /// Copies state to the copies of a snapshot, on the executor whose state is complete.
    pub(super) fn save_state(&mut self, set: usize, copies: &[(usize, usize)]) {
        if self.is_on_gpu {
            self.sets_on_gpu.insert(set);
            self.gpu.copy_shared(copies.iter().copied());
        } else {
            self.sets_on_gpu.remove(&set);
            self.cpu.copy_shared(copies.iter().copied());
        }
    }

    /// Copies a snapshot of `length` tokens back to the state of the executor that holds it, which
    /// also holds all rows by position up to there.
    pub(super) fn restore_state(
        &mut self,
        set: usize,
        back: impl Iterator<Item = (usize, usize)>,
        length: u32,
    ) {
        self.is_on_gpu = self.sets_on_gpu.contains(&set);
        match self.is_on_gpu {
            true => self.gpu.copy_shared(back),
            false => self.cpu.copy_shared(back),
        }
        self.common_positions = self.common_positions.min(length);
    }

    /// Words of the copies of a snapshot, from the executor that holds it.
    pub(super) async fn read_snapshot(&self, parts: &[StatePart], set: usize) -> Result<Vec<f32>> {
        match self.sets_on_gpu.contains(&set) {
            true => self.gpu.read_parts(parts).await,
            false => Ok(read_cpu_parts(&self.cpu, parts)),
        }
    }

    /// Notes that both executors are given the state of `length` tokens and all snapshots.
    pub(super) fn begin_restore(&mut self, length: u32, sets: usize) {
        self.common_positions = length;
        self.sets_on_gpu = (0..sets).collect();
    }

    /// Zeroes the state of the sequence on both executors.
    pub(super) fn clear_state(&mut self) {
        self.gpu.clear_state();
        self.cpu.clear_state();
        self.common_positions = 0;
    }

    /// Words of shared buffers, one part after another, from the executor whose state is complete.
    pub(super) async fn read_parts(&self, parts: &[StatePart]) -> Result<Vec<f32>> {
        match self.is_on_gpu {
            true => self.gpu.read_parts(parts).await,
            false => Ok(read_cpu_parts(&self.cpu, parts)),
        }
    }
}

/// Measures the milliseconds of copying 10⁹ bytes of state from the GPU to the CPU.
pub(in crate::engine) async fn handover_ms_per_gb(
    gpu: &Rc<Gpu>,
    shapes: &dyn TensorShapes,
) -> Result<f64> {
    let mut resources = Resources::new(shapes, u64::MAX);
    resources.recurrent_state("tuning", HANDOVER_WORDS);
    let allocated = gpu.allocated_bytes();
    let executor =
        GpuExecutor::new(gpu.clone(), &resources, assign_slots(&[]), HANDOVER_WORDS).await?;
    let mut least_ms = f64::INFINITY;
    for _ in 0..MEASURED_READBACKS {
        let started = Instant::now();
        executor.read_parts(&[(0, 0..HANDOVER_WORDS)]).await?;
        least_ms = least_ms.min(milliseconds(started));
    }
    gpu.freed(gpu.allocated_bytes() - allocated);
    Ok(least_ms / (HANDOVER_WORDS * 4) as f64 * 1e9)
}
