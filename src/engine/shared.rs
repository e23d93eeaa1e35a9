//! Both executors with one sequence: the GPU reads prompts by chunks, the CPU does what has one row, each
//! with the weights for itself. The state goes to whom the work goes.

use std::ops::Range;
use std::rc::Rc;

use web_time::Instant;

use super::executor::Runner;
use super::load::CHUNK_PLAN;
use super::milliseconds;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::gpu::{Gpu, GpuExecutor};
use crate::kernels::Buffer;
use crate::plan::{Resources, StateKind, TensorShapes, assign_slots};

/// Words of the state that come from the GPU at a time.
pub(super) const HAND_OVER_WORDS: u64 = 1 << 20;

/// How often it is measured how long that takes; the quickest counts.
const RUNS: usize = 3;

/// A state buffer: its index, kind and length in words.
type StateBuffer = (usize, StateKind, u64);

/// The GPU and the CPU.
pub(crate) struct Shared {
    pub(super) gpu: GpuExecutor,
    pub(super) cpu: CpuExecutor,
    state: Vec<StateBuffer>,
    /// Whether the GPU ran last, and so has the whole state.
    on_gpu: bool,
    /// Positions that both have.
    common: u32,
}

impl Shared {
    /// Both, for the same resources.
    pub(super) fn new(gpu: GpuExecutor, cpu: CpuExecutor, resources: &Resources<'_>) -> Self {
        Self { gpu, cpu, state: state(resources), on_gpu: false, common: 0 }
    }

    /// Who runs a plan.
    pub(super) fn runner(&mut self, plan_index: usize) -> Runner<'_> {
        match plan_index {
            CHUNK_PLAN => Runner::Gpu(&mut self.gpu),
            _ => Runner::Cpu(&mut self.cpu),
        }
    }

    /// Gives who runs a plan what it lacks of the state before that position, where the step is.
    pub(super) async fn hand_over(&mut self, plan_index: usize, position: u32) -> Result<()> {
        let to_gpu = plan_index == CHUNK_PLAN;
        self.common = self.common.min(position);
        if to_gpu == self.on_gpu {
            return Ok(());
        }
        // At the beginning both have zeros.
        if position > 0 {
            let parts = parts(&self.state, self.common..position);
            if to_gpu {
                for (index, words) in parts {
                    let held = self.cpu.read(Buffer::Shared(index as u16));
                    let part = &held[words.start as usize..words.end as usize];
                    self.gpu.write_shared(index, words.start, part);
                }
            } else {
                let words = self.gpu.read_parts(&parts).await?;
                let mut rest = &words[..];
                for (index, words) in parts {
                    let (part, others) = rest.split_at((words.end - words.start) as usize);
                    self.cpu.write_shared(index, words.start, part);
                    rest = others;
                }
            }
        }
        self.common = position;
        self.on_gpu = to_gpu;
        Ok(())
    }

    /// Zeroes what the sequence carries.
    pub(super) fn clear_state(&mut self) {
        self.gpu.clear_state();
        self.cpu.clear_state();
        self.common = 0;
    }

    /// The words of a shared buffer, of who has the whole state.
    pub(super) async fn read_shared(&self, index: usize) -> Result<Vec<f32>> {
        let buffer = Buffer::Shared(index as u16);
        match self.on_gpu {
            true => self.gpu.read(0, buffer).await,
            false => Ok(self.cpu.read(buffer).to_vec()),
        }
    }
}

fn state(resources: &Resources<'_>) -> Vec<StateBuffer> {
    let words = |index: usize| resources.shared()[index].words;
    resources.state_buffers().map(|(index, kind)| (index, kind, words(index))).collect()
}

/// Bytes of the state of so many positions.
pub(super) fn state_bytes(resources: &Resources<'_>, positions: u32) -> u64 {
    parts(&state(resources), 0..positions)
        .into_iter()
        .map(|(_, words)| (words.end - words.start) * 4)
        .sum()
}

/// Milliseconds that a GB of state takes to the CPU.
pub(super) async fn state_ms_per_gb(gpu: &Rc<Gpu>, shapes: &dyn TensorShapes) -> Result<f64> {
    let mut resources = Resources::new(shapes, u64::MAX);
    resources.recurrent_state("sample", HAND_OVER_WORDS);
    let allocated = gpu.allocated_bytes();
    let executor =
        GpuExecutor::new(gpu.clone(), &resources, assign_slots(&[]), HAND_OVER_WORDS).await?;
    let mut best_ms = f64::INFINITY;
    for _ in 0..RUNS {
        let started = Instant::now();
        executor.read_parts(&[(0, 0..HAND_OVER_WORDS)]).await?;
        best_ms = best_ms.min(milliseconds(started));
    }
    gpu.freed(gpu.allocated_bytes() - allocated);
    Ok(best_ms / (HAND_OVER_WORDS * 4) as f64 * 1e9)
}

/// The words of the state that hold these positions, and what holds the past in one: both executors have
/// them in this order, and in the same bits.
fn parts(state: &[StateBuffer], positions: Range<u32>) -> Vec<(usize, Range<u64>)> {
    let words = |(index, kind, words): &StateBuffer| {
        let words = match kind {
            StateKind::Positions(rows) => {
                u64::from(positions.start) * rows.words()..u64::from(positions.end) * rows.words()
            }
            StateKind::Recurrent => 0..*words,
        };
        (*index, words)
    };
    state.iter().map(words).filter(|(_, words)| !words.is_empty()).collect()
}
