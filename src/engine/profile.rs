//! Where the time of a step goes, kernel by kernel.

use serde::Serialize;
use web_time::Instant;

use super::executor::{Executor, Runner};
use super::{Engine, STEP_PLAN, milliseconds};
use crate::error::{Error, Result};
use crate::kernels::{Buffer, Kernel, Step};
use crate::plan::{Plan, SharedRole, StateKind};

/// Where the time of some steps goes.
#[derive(Debug, Clone, Serialize)]
pub struct Profile {
    /// What told the time: the device's `timestamps`, or the `clock` while we waited for it.
    pub timer: &'static str,
    /// What the device reads and writes in a second while it copies, in 10⁹ bytes.
    pub copy_gb_per_s: f64,
    /// The steps that were asked for.
    pub steps: Vec<StepProfile>,
}

/// A step, medians of several runs.
#[derive(Debug, Clone, Serialize)]
pub struct StepProfile {
    /// Position of the first row.
    pub position: u32,
    /// Rows.
    pub rows: u32,
    /// Microseconds of the whole step, until its logits are with the host.
    pub whole_us: f64,
    /// The same of each run.
    pub runs_us: Vec<f64>,
    /// Its kernels, the slowest first.
    pub kernels: Vec<KernelProfile>,
}

/// All kernels of a step that are alike.
#[derive(Debug, Clone, Serialize)]
pub struct KernelProfile {
    /// Kernel, what fills its slots, weight format and shape.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// Microseconds of all of them.
    pub us: f64,
    /// Of the time of all kernels.
    pub time_share: f64,
    /// Bytes that they read and write at least.
    pub bytes: u64,
    /// In a second, in 10⁹.
    pub gb_per_s: f64,
    /// Of what the device copies.
    pub bandwidth_share: f64,
    /// Multiplications and additions of matrix products, attention and scans.
    pub operations: u64,
}

/// A step while it is measured.
struct Measured {
    step: Step,
    plan: usize,
    names: Vec<String>,
    /// Kernels of the plan that are alike, by index.
    groups: Vec<Vec<usize>>,
    whole_us: Vec<f64>,
    /// A vector for each run, with a time for each group.
    times: Vec<Vec<f64>>,
}

/// What to profile, and for how long.
#[derive(Debug, Clone)]
pub struct ProfileRequest {
    /// Steps, which take turns.
    pub steps: Vec<Step>,
    /// Runs of each step.
    pub runs: usize,
    /// After so many milliseconds no further run begins but the first.
    pub limit_ms: f64,
    /// Only kernels whose names begin so, and no whole steps; all of them if it is empty.
    pub kernels: String,
}

/// What a brief profile takes: runs of each step, how long they may take together, and rows and
/// position of the steps.
const BRIEF_RUNS: usize = 5;
const BRIEF_MS: f64 = 2000.0;
const BRIEF_ROWS: u32 = 64;
const BRIEF_POSITION: u32 = 512;

/// What a token asks of the CPU's memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reading {
    /// Bytes of weights that a token reads, as they lie in memory.
    pub weight_bytes: u64,
    /// What the threads read of memory in a second, in 10⁹ bytes.
    pub read_gb_per_s: f64,
}

impl Engine {
    /// What a token reads and how fast that could be; none on the GPU.
    pub fn reading(&mut self) -> Option<Reading> {
        let Runner::Cpu(cpu) = self.executor.runner(STEP_PLAN) else { return None };
        let weight_bytes = cpu.weight_bytes(&self.plans[STEP_PLAN]);
        Some(Reading { weight_bytes, read_gb_per_s: cpu.read_bandwidth() / 1e9 })
    }

    /// [`Engine::profile`] of a token after a prompt and of a piece of a prompt, for people who wait.
    pub async fn profile_briefly(&mut self) -> Result<Profile> {
        let rows = BRIEF_ROWS.min(self.chunk_rows()).min(self.context_length);
        let position = BRIEF_POSITION.min(self.context_length - 1);
        let steps = vec![Step { position, rows: 1 }, Step { position: 0, rows }];
        let kernels = String::new();
        self.profile(&ProfileRequest { steps, runs: BRIEF_RUNS, limit_ms: BRIEF_MS, kernels }).await
    }

    /// Times steps on zeros; what the sequence carried is forgotten.
    pub async fn profile(&mut self, request: &ProfileRequest) -> Result<Profile> {
        self.reset();
        let mut measured = Vec::new();
        for step in &request.steps {
            measured.push(self.measured(*step, &request.kernels)?);
        }
        if measured.iter().all(|measured| measured.groups.is_empty()) {
            let message =
                format!("found {:?}, with which no kernel's name begins", request.kernels);
            return Err(Error::invalid_request("kernels", message));
        }
        let copy_gb_per_s = self.executor.copy_bandwidth().await? / 1e9;
        let started = Instant::now();
        // The first run is the drivers'.
        for run in 0..=request.runs {
            for measured in &mut measured {
                let Measured { plan, step, .. } = *measured;
                let tokens = vec![0; step.rows as usize];
                let whole = Instant::now();
                if request.kernels.is_empty() {
                    self.executor.run(plan, &self.plans[plan], step, &tokens, true).await?;
                }
                let whole_us = milliseconds(whole) * 1000.0;
                if run == 0 && request.kernels.is_empty() {
                    continue;
                }
                let times =
                    self.executor.time(plan, &self.plans[plan], step, &measured.groups).await?;
                if run > 0 {
                    measured.whole_us.push(whole_us);
                    measured.times.push(times);
                }
            }
            if run > 0 && milliseconds(started) > request.limit_ms {
                break;
            }
        }
        self.reset();
        let steps =
            measured.into_iter().map(|measured| self.report(measured, copy_gb_per_s)).collect();
        Ok(Profile { timer: self.executor.timer(), copy_gb_per_s, steps })
    }

    fn measured(&self, step: Step, kernels: &str) -> Result<Measured> {
        let plan = self.plans.iter().position(|plan| plan.capacity >= step.rows);
        let fits = step.rows > 0
            && u64::from(step.position) + u64::from(step.rows) <= self.context_length.into();
        let Some(plan) = plan.filter(|_| fits) else {
            let Step { position, rows } = step;
            let message = format!(
                "found {rows} rows at {position}, which no plan or the context has room for"
            );
            return Err(Error::invalid_request("step", message));
        };
        let (mut names, mut groups): (Vec<String>, Vec<Vec<usize>>) = Default::default();
        for (index, planned) in self.plans[plan].kernels.iter().enumerate() {
            let kernel = &planned.kernel;
            if kernel.workgroups(step).contains(&0) || !kernel.name().starts_with(kernels) {
                continue;
            }
            let name = name(kernel);
            match names.iter().position(|other| *other == name) {
                Some(group) => groups[group].push(index),
                None => {
                    names.push(name);
                    groups.push(vec![index]);
                }
            }
        }
        Ok(Measured { step, plan, names, groups, whole_us: Vec::new(), times: Vec::new() })
    }

    fn report(&self, measured: Measured, copy_gb_per_s: f64) -> StepProfile {
        let Measured { step, plan, names, groups, whole_us, times } = measured;
        let plan = &self.plans[plan];
        let of_group = |group| median(times.iter().map(|run| run[group]).collect());
        let us: Vec<f64> = (0..groups.len()).map(of_group).collect();
        let all_us: f64 = us.iter().sum();
        let kernel = |(name, (group, us)): (String, (Vec<usize>, f64))| {
            let kernels = || group.iter().map(|index| &plan.kernels[*index].kernel);
            let bytes = kernels().map(|kernel| self.traffic(plan, kernel, step)).sum();
            let gb_per_s = if us > 0.0 { bytes as f64 / us / 1000.0 } else { 0.0 };
            KernelProfile {
                name,
                count: group.len(),
                us,
                time_share: us / all_us.max(f64::MIN_POSITIVE),
                bytes,
                gb_per_s,
                bandwidth_share: gb_per_s / copy_gb_per_s,
                operations: kernels().map(|kernel| kernel.operations(step)).sum(),
            }
        };
        let groups = groups.into_iter().zip(us);
        let mut kernels: Vec<_> = names.into_iter().zip(groups).map(kernel).collect();
        kernels.sort_by(|a, b| b.us.total_cmp(&a.us));
        let Step { position, rows } = step;
        StepProfile {
            position,
            rows,
            whole_us: median(whole_us.clone()),
            runs_us: whole_us,
            kernels,
        }
    }

    /// Bytes that a kernel must read and write: its weights once, and of each buffer what the step is about.
    fn traffic(&self, plan: &Plan, kernel: &Kernel, step: Step) -> u64 {
        let (rows, seen) = (u64::from(step.rows), u64::from(step.position + step.rows));
        let context_length = u64::from(self.context_length);
        let words = |buffer: Buffer, write: bool| match buffer {
            Buffer::Scratch(index) => plan.scratch[usize::from(index)].words(step.rows),
            Buffer::Shared(index) => {
                let shared = &self.shared[usize::from(index)];
                match &shared.role {
                    SharedRole::Vector(_) => shared.words,
                    SharedRole::RotaryTable(_) => shared.words / context_length * rows,
                    SharedRole::State(StateKind::Positions(_)) => {
                        shared.words / context_length * if write { rows } else { seen }
                    }
                    SharedRole::State(StateKind::Recurrent) => {
                        shared.words * if write { 2 } else { 1 }
                    }
                    _ => rows.min(shared.words),
                }
            }
        };
        let buffers: u64 =
            kernel.bindings().iter().map(|binding| words(binding.buffer, binding.write)).sum();
        let weights = kernel.matrix().map_or(0, |part| match kernel {
            Kernel::Embed(_) => part.size_bytes() / u64::from(part.rows) * rows,
            _ => part.size_bytes(),
        });
        4 * buffers + weights
    }
}

fn name(kernel: &Kernel) -> String {
    let shape = kernel.matrix().map(|part| format!(" {}×{}", part.rows, part.columns));
    kernel.title() + &shape.unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Executor {
    /// What tells the time of a kernel.
    fn timer(&self) -> &'static str {
        match self {
            Executor::Gpu(gpu) if gpu.gpu.has_timestamps() => "timestamps",
            _ => "clock",
        }
    }

    /// Microseconds that each group of a plan's kernels takes.
    async fn time(
        &mut self,
        index: usize,
        plan: &Plan,
        step: Step,
        groups: &[Vec<usize>],
    ) -> Result<Vec<f64>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        match self.runner(index) {
            Runner::Gpu(gpu) => gpu.time(index, step, groups).await,
            Runner::Cpu(cpu) => {
                let mut time = |group: &Vec<usize>| {
                    let started = Instant::now();
                    group.iter().for_each(|kernel| cpu.run(index, plan, *kernel..kernel + 1, step));
                    milliseconds(started) * 1000.0
                };
                Ok(groups.iter().map(&mut time).collect())
            }
        }
    }

    /// Bytes read and written in a second by a copy.
    async fn copy_bandwidth(&self) -> Result<f64> {
        match self {
            Executor::Gpu(gpu) => gpu.gpu.copy_bandwidth().await,
            Executor::Cpu(_) | Executor::Shared(_) => {
                let (from, mut to) = (vec![1.0f32; 1 << 24], vec![0.0f32; 1 << 24]);
                // So that both are there: memory is given out when it is first written.
                to.copy_from_slice(&from);
                let started = Instant::now();
                to.copy_from_slice(&from);
                // Without a reader there would be no copy.
                std::hint::black_box(&mut to);
                let bytes = size_of_val(&from[..]) + size_of_val(&to[..]);
                Ok(bytes as f64 / started.elapsed().as_secs_f64())
            }
        }
    }
}
