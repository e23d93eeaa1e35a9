//! Profile of steps: time and memory traffic, kernel by kernel.

use serde::Serialize;
use web_time::Instant;

use super::clock::milliseconds;
use super::executors::{Executor, Runner};
use super::plans::{PlanPurpose, RegisteredPlan};
use super::{Engine, no_plan};
use crate::error::{Error, Result, quoted};
use crate::kernels::{Buffer, Kernel, Step};
use crate::plan::{Plan, SharedRole, StateKind};

/// Runs of each step of a brief profile, and milliseconds after which no further run begins.
const BRIEF_RUNS: usize = 5;
const MAX_BRIEF_MS: f64 = 2000.0;
/// Rows of the prefill step of a brief profile, and position of its decode step.
const BRIEF_ROWS: u32 = 64;
const BRIEF_POSITION: u32 = 512;

/// Profile of some steps.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Profile {
    /// Source of the times: `timestamps` of the GPU, or the host's `clock`.
    #[cfg_attr(feature = "typescript", ts(type = "\"timestamps\" | \"clock\""))]
    pub timer: &'static str,
    /// Bytes that the device reads and writes per second while it copies, in 10⁹.
    pub copy_gb_per_s: f64,
    /// The steps, in the order of the request.
    pub steps: Vec<StepProfile>,
}

/// Profile of a step: medians of several runs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StepProfile {
    /// Position of the first row.
    pub position: u32,
    /// Number of rows.
    pub rows: u32,
    /// Microseconds of the whole step, until the host has its logits.
    pub whole_us: f64,
    /// Microseconds of the whole step in each run.
    pub runs_us: Vec<f64>,
    /// The step's kernels, the slowest first.
    pub kernels: Vec<KernelProfile>,
}

/// Profile of all kernels of a step with the same name.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct KernelProfile {
    /// Kernel, fused parts, weight format and shape.
    pub name: String,
    /// Number of kernels.
    pub count: usize,
    /// Microseconds of all of them.
    pub us: f64,
    /// Share of the time of all kernels of the step, 0 to 1.
    pub time_share: f64,
    /// Least bytes that they read and write.
    pub bytes: u64,
    /// Bytes per second, in 10⁹.
    pub gb_per_s: f64,
    /// Share of the bandwidth of a copy, 0 to 1.
    pub bandwidth_share: f64,
    /// Multiplications and additions of matrix products, attention and scans.
    pub operations: u64,
}

/// Steps to profile.
#[derive(Debug, Clone)]
pub struct ProfileRequest {
    /// Steps, which take turns.
    pub steps: Vec<Step>,
    /// Runs of each step.
    pub runs: usize,
    /// Milliseconds after which no further run begins; the first always does.
    pub limit_ms: f64,
    /// Prefix of the names of the kernels to profile. Whole steps are timed only if it is empty.
    pub kernels: String,
}

/// Memory traffic of a token on the CPU.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CpuBandwidth {
    /// Bytes of weights that a token reads, in the executor's layout.
    pub weight_bytes: u64,
    /// Bytes per second that the threads can read, in 10⁹.
    pub read_gb_per_s: f64,
}

/// Measurements of a step.
struct Measured {
    step: Step,
    /// Names of the step's kernels.
    names: Vec<String>,
    /// Indices of the kernels with each name.
    groups: Vec<Vec<usize>>,
    /// Microseconds of the whole step, by run.
    whole_us: Vec<f64>,
    /// Microseconds of each group, by run.
    times: Vec<Vec<f64>>,
}

impl Engine {
    /// Weights that a token reads and the bandwidth to read them; `None` if the GPU decodes.
    pub fn cpu_bandwidth(&mut self) -> Option<CpuBandwidth> {
        let decode = self.plans.find(PlanPurpose::Decode, 1)?;
        let Runner::Cpu(cpu) = self.executor.runner(PlanPurpose::Decode) else { return None };
        let weight_bytes = cpu.weight_bytes(&decode.plan);
        Some(CpuBandwidth { weight_bytes, read_gb_per_s: cpu.read_bandwidth() / 1e9 })
    }

    /// Profiles a decode step and a prefill step within a few seconds.
    ///
    /// # Errors
    /// Errors of [`Engine::profile`].
    pub async fn profile_briefly(&mut self) -> Result<Profile> {
        let rows = BRIEF_ROWS.min(self.chunk_rows()).min(self.context_length);
        let position = BRIEF_POSITION.min(self.context_length - 1);
        let steps = vec![Step { position, rows: 1 }, Step { position: 0, rows }];
        let (runs, limit_ms, kernels) = (BRIEF_RUNS, MAX_BRIEF_MS, String::new());
        self.profile(&ProfileRequest { steps, runs, limit_ms, kernels }).await
    }

    /// Profiles steps whose tokens and state are zeros. Empties the sequence and drops a running
    /// request.
    ///
    /// # Errors
    /// `invalid-request` for a step that does not fit the context or a plan, and for a prefix that
    /// no kernel has; errors of the device.
    pub async fn profile(&mut self, request: &ProfileRequest) -> Result<Profile> {
        self.check_generates()?;
        self.reset();
        let groups = request.steps.iter().map(|step| self.grouped(*step, &request.kernels));
        let mut measured: Vec<Measured> = groups.collect::<Result<_>>()?;
        if measured.iter().all(|measured| measured.groups.is_empty()) {
            let expected = "a prefix of a kernel's name";
            return Err(Error::invalid_value("kernels", quoted(&request.kernels), expected));
        }
        let copy_gb_per_s = self.executor.copy_bandwidth().await? / 1e9;
        let started = Instant::now();
        // Run 0 warms up.
        for run in 0..=request.runs {
            for measured in &mut measured {
                self.measure(measured, run, request.kernels.is_empty()).await?;
            }
            if run > 0 && milliseconds(started) > request.limit_ms {
                break;
            }
        }
        self.reset();
        let steps = measured.into_iter().map(|measured| self.report(measured, copy_gb_per_s));
        let steps = steps.collect::<Result<_>>()?;
        Ok(Profile { timer: self.executor.timer(), copy_gb_per_s, steps })
    }

    /// The kernels of a step whose names begin with a prefix, grouped by name.
    fn grouped(&self, step: Step, prefix: &str) -> Result<Measured> {
        let Step { position, rows } = step;
        let end = u64::from(position) + u64::from(rows);
        let fits = rows > 0 && end <= u64::from(self.context_length);
        let Some(entry) = self.plans.for_step(rows).filter(|_| fits) else {
            let (most, length) = (self.chunk_rows(), self.context_length);
            let message = format!(
                "found {rows} rows at position {position}, expected 1 to {most} rows that end at \
                 {length} or before"
            );
            return Err(Error::invalid_request("step", message));
        };
        let (mut names, mut groups): (Vec<String>, Vec<Vec<usize>>) = Default::default();
        for (index, planned) in entry.plan.kernels.iter().enumerate() {
            let kernel = &planned.kernel;
            if kernel.workgroups(step).contains(&0) || !kernel.name().starts_with(prefix) {
                continue;
            }
            let name = name_with_shape(kernel);
            match names.iter().position(|other| *other == name) {
                Some(group) => groups[group].push(index),
                None => {
                    names.push(name);
                    groups.push(vec![index]);
                }
            }
        }
        Ok(Measured { step, names, groups, whole_us: Vec::new(), times: Vec::new() })
    }

    /// Times one run of a step: the whole step if `with_whole`, then its kernels.
    async fn measure(
        &mut self,
        measured: &mut Measured,
        run: usize,
        with_whole: bool,
    ) -> Result<()> {
        let step = measured.step;
        let entry = self.plans.for_step(step.rows).ok_or_else(|| no_plan(step.rows))?;
        let started = Instant::now();
        if with_whole {
            let tokens = vec![0; step.rows as usize];
            self.executor.run(entry, step, &tokens, true).await?;
        }
        let whole_us = milliseconds(started) * 1000.0;
        if run == 0 && with_whole {
            return Ok(());
        }
        let times = self.executor.time(entry, step, &measured.groups).await?;
        if run > 0 {
            measured.whole_us.push(whole_us);
            measured.times.push(times);
        }
        Ok(())
    }

    fn report(&self, measured: Measured, copy_gb_per_s: f64) -> Result<StepProfile> {
        let Measured { step, names, groups, whole_us, times } = measured;
        let Step { position, rows } = step;
        let plan = &self.plans.for_step(rows).ok_or_else(|| no_plan(rows))?.plan;
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
        let median_us = median(whole_us.clone());
        Ok(StepProfile { position, rows, whole_us: median_us, runs_us: whole_us, kernels })
    }

    /// Least bytes that a kernel reads and writes: its weights once, and of each buffer the rows of
    /// the step and the positions before it.
    fn traffic(&self, plan: &Plan, kernel: &Kernel, step: Step) -> u64 {
        let (rows, end) = (u64::from(step.rows), u64::from(step.position + step.rows));
        let context_length = u64::from(self.context_length);
        let words = |buffer: Buffer, write: bool| match buffer {
            Buffer::Scratch(index) => plan.scratch[usize::from(index)].words(step.rows),
            Buffer::Shared(index) => {
                let shared = &self.shared_buffers[usize::from(index)];
                match &shared.role {
                    SharedRole::Vector(_) => shared.words,
                    SharedRole::RotaryTable(_) => shared.words / context_length * rows,
                    SharedRole::State(StateKind::Positions(cached)) => {
                        let read = cached.ring.map_or(end, |ring| end.min(ring.length.into()));
                        cached.words() * if write { rows } else { read }
                    }
                    SharedRole::State(StateKind::Recurrent) => {
                        shared.words * if write { 2 } else { 1 }
                    }
                    _ => rows.min(shared.words),
                }
            }
        };
        let bindings = kernel.bindings();
        let buffers: u64 =
            bindings.iter().map(|binding| words(binding.buffer, binding.write)).sum();
        let weights = kernel.matrix().map_or(0, |part| match kernel {
            Kernel::Embed(_) => part.size_bytes() / u64::from(part.rows) * rows,
            _ => part.size_bytes(),
        });
        4 * buffers + weights
    }
}

fn name_with_shape(kernel: &Kernel) -> String {
    let shape = kernel.matrix().map(|part| format!(" {}×{}", part.rows, part.columns));
    kernel.title() + &shape.unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Executor {
    /// Source of the times of kernels.
    fn timer(&self) -> &'static str {
        match self {
            Executor::Gpu(gpu) if gpu.gpu.has_timestamps() => "timestamps",
            _ => "clock",
        }
    }

    /// Microseconds of each group of a plan's kernels.
    async fn time(
        &mut self,
        RegisteredPlan { index, purpose, plan }: &RegisteredPlan,
        step: Step,
        groups: &[Vec<usize>],
    ) -> Result<Vec<f64>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        match self.runner(*purpose) {
            Runner::Gpu(gpu) => gpu.time(*index, step, groups).await,
            Runner::Cpu(cpu) => {
                let mut time = |group: &Vec<usize>| {
                    let started = Instant::now();
                    for kernel in group {
                        cpu.run(*index, plan, *kernel..kernel + 1, step);
                    }
                    milliseconds(started) * 1000.0
                };
                Ok(groups.iter().map(&mut time).collect())
            }
        }
    }

    /// Bytes read and written per second by a copy.
    async fn copy_bandwidth(&self) -> Result<f64> {
        match self {
            Executor::Gpu(gpu) => gpu.gpu.copy_bandwidth().await,
            Executor::Cpu(_) | Executor::Hybrid(_) => Ok(cpu_copy_bandwidth()),
        }
    }
}

fn cpu_copy_bandwidth() -> f64 {
    let (from, mut to) = (vec![1.0f32; 1 << 24], vec![0.0f32; 1 << 24]);
    // The system maps pages when they are first written.
    to.copy_from_slice(&from);
    let started = Instant::now();
    to.copy_from_slice(&from);
    // Keeps the compiler from leaving out a copy that nothing reads.
    std::hint::black_box(&mut to);
    let bytes = size_of_val(&from[..]) + size_of_val(&to[..]);
    bytes as f64 / started.elapsed().as_secs_f64()
}
