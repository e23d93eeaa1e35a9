//! Sampling kernels on the GPU: the exact tokens of their CPU references, and the expected
//! distribution of draws.

use std::rc::Rc;

use tablm::cpu::{CpuExecutor, CpuVariant};
use tablm::formats::Format;
use tablm::gpu::{Gpu, GpuExecutor};
use tablm::kernels::{Buffer, MatvecStrategy, Rows, SampledToken, Step};
use tablm::plan::{Plan, PlanBuilder, Resources, SamplingPlan, assign_slots};
use tablm::sampling::{Adjustment, SamplingParameters};

use crate::common::random::Random;
use crate::matrices::strategies;
use crate::{Shapes, with_gpu};

const GREEDY: SamplingParameters = SamplingParameters {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    log_min_p: f32::MIN,
    repetition_penalty: 1.0,
    frequency_penalty: 0.0,
    presence_penalty: 0.0,
    has_adjustments: 0,
    has_cuts: 0,
    seed_low: 5,
    seed_high: 1,
    stop_tokens: [SamplingParameters::NO_TOKEN; SamplingParameters::MAX_STOP_TOKENS],
};

/// Draws from all tokens.
const DRAWN: SamplingParameters = SamplingParameters { temperature: 1.0, ..GREEDY };

/// Draws with the cuts that the other fields set.
const CUT: SamplingParameters = SamplingParameters { has_cuts: 1, ..DRAWN };

/// The sampling plan on both executors, alone or after a product that computes logits and the
/// greatest score of each quad.
struct Executors {
    head: Option<Plan>,
    sampling_plan: SamplingPlan,
    cpu: CpuExecutor,
    gpu: GpuExecutor,
}

impl Executors {
    async fn new(gpu: &Rc<Gpu>, vocabulary: u32) -> Self {
        let shapes = Shapes::default();
        let mut resources = Resources::new(&shapes, 1 << 27);
        let sampling_plan = SamplingPlan::new(&mut resources, vocabulary);
        let slots = assign_slots(&[&sampling_plan.plan]);
        let mut cpu = CpuExecutor::new(&resources, slots.clone(), CpuVariant::Exact).unwrap();
        let mut gpu = GpuExecutor::new(gpu.clone(), &resources, slots, 16).await.unwrap();
        gpu.prepare(&sampling_plan.plan).await.unwrap();
        cpu.run(0, &sampling_plan.plan, 0..0, Step { position: 0, rows: 1 });
        Self { head: None, sampling_plan, cpu, gpu }
    }

    /// Executors on which a product computes the logits, with a matrix in parts of at most
    /// `max_binding_bytes`. In Q8_0, logits must be multiples of 127 and at most 127².
    async fn with_head(
        gpu: &Rc<Gpu>,
        logits: &[f32],
        format: Format,
        strategy: MatvecStrategy,
        max_binding_bytes: u64,
    ) -> Self {
        let (vocabulary, columns) = (logits.len() as u32, format.rules().block_weights() as u32);
        let (input, stored) = match format {
            Format::F32 => (1.0, bytemuck::cast_slice(logits).to_vec()),
            _ => (127.0, logits.iter().flat_map(|logit| q8_0((logit / 127.0) as i8)).collect()),
        };
        let mut shapes = Shapes::default();
        shapes.0.insert("matrix".into(), (format, vec![logits.len(), columns as usize]));
        let mut resources = Resources::new(&shapes, max_binding_bytes);
        let mut sampling_plan = SamplingPlan::new(&mut resources, vocabulary);
        let mut plan = PlanBuilder::new(&mut resources, 1);
        let matrix = plan.resources.weight_matrix("matrix", vocabulary, columns);
        let x = plan.input(Rows::One, columns);
        let y = plan.matmul(matrix, x);
        let mut plans = [plan.finish(y)];
        plans[0].use_strategy(strategy);
        sampling_plan.fuse_into(&mut plans);
        assert_eq!(sampling_plan.kernels(false), 1..2);
        assert_eq!(sampling_plan.kernels(true), 0..2);
        assert!(plans[0].without_logits().is_empty(), "the head must not run without logits");
        let [head] = plans;
        let slots = assign_slots(&[&head, &sampling_plan.plan]);
        let mut cpu = CpuExecutor::new(&resources, slots.clone(), CpuVariant::Exact).unwrap();
        let mut gpu = GpuExecutor::new(gpu.clone(), &resources, slots, 16).await.unwrap();
        gpu.prepare(&head).await.unwrap();
        gpu.prepare(&sampling_plan.plan).await.unwrap();
        cpu.upload_rows(0, &stored);
        gpu.upload_rows(&resources.matrices()[0], 0, 0, &stored).unwrap();
        cpu.run(0, &head, 0..0, step(0));
        cpu.write(x.buffer, &[input]);
        gpu.write(0, x.buffer, &[input]);
        Self { head: Some(head), sampling_plan, cpu, gpu }
    }

    /// Index of the sampling plan among the plans.
    fn index(&self) -> usize {
        usize::from(self.head.is_some())
    }

    fn set(&mut self, buffer: Buffer, words: &[f32]) {
        self.cpu.write(buffer, words);
        self.gpu.write(self.index(), buffer, words);
    }

    fn set_parameters(&mut self, sampling: &SamplingParameters) {
        self.set(
            self.sampling_plan.buffers.sampling,
            bytemuck::cast_slice(std::slice::from_ref(sampling)),
        );
    }

    /// Sets the bias and the occurrences of some tokens, and clears those of all others.
    fn adjust(&mut self, adjusted: &[(u32, f32, u32)]) {
        let mut words = vec![0.0; self.sampling_plan.buffers.logits.width as usize * 2];
        for (token, bias, occurrences) in adjusted {
            words[*token as usize * 2..][..2]
                .copy_from_slice(&[*bias, f32::from_bits(*occurrences)]);
        }
        self.set(self.sampling_plan.buffers.adjustments, &words);
    }

    /// Samples from the logits on both executors and compares all buffers that they write.
    async fn sample(&mut self, logits: &[f32], step: Step, what: &str) -> SampledToken {
        match &self.head {
            Some(head) => {
                self.cpu.run(0, head, 0..head.kernels.len(), step);
                self.gpu.run(0, 0..head.kernels.len(), step, None);
            }
            None => self.set(self.sampling_plan.buffers.logits.buffer, logits),
        }
        let (index, kernels) = (self.index(), self.sampling_plan.kernels(false));
        self.cpu.run(index, &self.sampling_plan.plan, kernels.clone(), step);
        self.gpu.run(index, kernels, step, None);
        let buffers = self.sampling_plan.buffers;
        for buffer in [
            buffers.best,
            buffers.logits.buffer,
            buffers.tokens,
            buffers.adjustments,
            buffers.sampled_token,
        ] {
            let bits = |words: &[f32]| words.iter().map(|word| word.to_bits()).collect::<Vec<_>>();
            let found = bits(&self.gpu.read(index, buffer).await.unwrap());
            let expected = bits(self.cpu.read(buffer));
            let differ = |word| match (expected[word], found[word]) {
                (expected, found) if buffer == buffers.best => !are_close(expected, found),
                (expected, found) => expected != found,
            };
            let first = (0..expected.len()).find(|word| differ(*word));
            assert_eq!(first, None, "{what}: word of {buffer:?}, {:?}", self.sampled_token());
        }
        self.sampled_token()
    }

    fn sampled_token(&self) -> SampledToken {
        bytemuck::cast_slice(&self.cpu.read(self.sampling_plan.buffers.sampled_token)[..4])[0]
    }
}

/// A stored Q8_0 block whose first weight is given and whose others are zero.
fn q8_0(weight: i8) -> [u8; 34] {
    let mut block = [0; 34];
    block[..2].copy_from_slice(&0x3c00_u16.to_le_bytes());
    block[2] = weight as u8;
    block
}

/// True if the scores that two sort keys encode differ by the rounding of the noise at most.
fn are_close(a: u32, b: u32) -> bool {
    let [x, y] =
        [a, b].map(|key| f32::from_bits(if key >> 31 == 1 { key & 0x7fff_ffff } else { !key }));
    a == b || (x - y).abs() <= 4e-6 * x.abs().max(4.0)
}

fn step(position: u32) -> Step {
    Step { position, rows: 1 }
}

/// Logits that are hard to select from: ties, a single value, few or many possible tokens.
fn adversarial() -> Vec<(&'static str, Vec<f32>)> {
    let mut random = Random::new(11);
    let mut single = vec![f32::NEG_INFINITY; 1000];
    single[771] = -3.0;
    let mut few = vec![f32::NEG_INFINITY; 333];
    few[32] = 1.0;
    few[200] = 1.0;
    vec![
        ("one token", vec![0.5]),
        ("one value", vec![-7.25; 4097]),
        ("one possible token", single),
        ("two possible tokens", few),
        ("zeros of both signs", [vec![-0.0; 40], vec![0.0; 40]].concat()),
        ("ties", (0..5000).map(|i| (i * 7919 % 13) as f32 - 6.0).collect()),
        (
            "huge and tiny",
            (0..777).map(|i| if i % 2 == 0 { 1e-30 * i as f32 } else { -3e38 }).collect(),
        ),
        ("SmolLM2's vocabulary", random.normals(49_152).iter().map(|x| x * 4.0).collect()),
        ("Nemotron's vocabulary", random.normals(131_072).iter().map(|x| x * 3.0).collect()),
    ]
}

#[test]
fn greedy_sampling_is_exact() {
    with_gpu(async |gpu| {
        for (name, logits) in adversarial() {
            let mut executors = Executors::new(&gpu, logits.len() as u32).await;
            executors.set_parameters(&GREEDY);
            let sampled_token = executors.sample(&logits, step(7), name).await;
            let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let first = logits.iter().position(|logit| *logit == best).unwrap() as u32;
            assert_eq!(
                sampled_token,
                SampledToken { position: 8, rows: 1, token: first, flags: 0 },
                "{name}"
            );
        }
    });
}

#[test]
fn cuts_equal_those_of_the_reference() {
    let cuts = [
        DRAWN,
        SamplingParameters { temperature: 0.01, ..DRAWN },
        SamplingParameters { temperature: 1e-20, ..DRAWN },
        CUT,
        SamplingParameters { top_k: 1, ..CUT },
        SamplingParameters { top_k: 40, temperature: 0.7, ..CUT },
        SamplingParameters { top_k: 4000, ..CUT },
        SamplingParameters { top_p: 1e-9, ..CUT },
        SamplingParameters { top_p: 0.5, temperature: 2.0, ..CUT },
        SamplingParameters { top_p: 0.95, ..CUT },
        SamplingParameters { log_min_p: 0.1_f32.ln(), ..CUT },
        SamplingParameters { log_min_p: 0.0, ..CUT },
        SamplingParameters {
            top_k: 50,
            top_p: 0.9,
            log_min_p: 0.02_f32.ln(),
            temperature: 1.3,
            ..CUT
        },
        SamplingParameters { temperature: 1e-20, ..CUT },
    ];
    with_gpu(async |gpu| {
        for (name, logits) in adversarial() {
            let mut executors = Executors::new(&gpu, logits.len() as u32).await;
            for sampling in &cuts {
                executors.set_parameters(sampling);
                executors.sample(&logits, step(3), &format!("{name}, {sampling:?}")).await;
            }
        }
    });
}

#[test]
fn head_finds_the_greatest_scores() {
    let parameter_sets = [GREEDY, DRAWN, SamplingParameters { top_k: 40, top_p: 0.9, ..CUT }];
    with_gpu(async |gpu| {
        let mut random = Random::new(12);
        let mut bad: Vec<f32> = random.normals(1021);
        bad[1020] = f32::INFINITY;
        let cases = [
            ("one token", vec![0.5]),
            ("no possible token", vec![f32::NEG_INFINITY; 37]),
            ("a bad logit", bad),
            ("two parts", random.normals(49_155).iter().map(|x| x * 4.0).collect()),
        ];
        for (name, logits) in cases {
            // Rows are padded to a unit of 128 bytes.
            let max_binding_bytes = (logits.len() as u64 * 128).min(4 << 20);
            let strategy = MatvecStrategy::default();
            let mut executors =
                Executors::with_head(&gpu, &logits, Format::F32, strategy, max_binding_bytes).await;
            for sampling in &parameter_sets {
                executors.set_parameters(sampling);
                executors.sample(&logits, step(3), &format!("{name}, {sampling:?}")).await;
            }
        }
        // Ties, and a vocabulary that is no multiple of the workgroup size of any strategy.
        let logits: Vec<f32> = (0..1501).map(|i| (i * 7919 % 13) as f32 * 127.0).collect();
        for strategy in strategies(&gpu) {
            let mut executors =
                Executors::with_head(&gpu, &logits, Format::Q8_0, strategy, 1 << 27).await;
            executors.set_parameters(&GREEDY);
            let sampled_token = executors.sample(&logits, step(7), &strategy.name()).await;
            assert_eq!(sampled_token.token, 6, "{strategy:?}");
        }
    });
}

#[test]
fn bias_and_penalties_are_applied_and_occurrences_are_counted() {
    let logits = [3.0, 2.9, 2.0, -1.0, f32::NEG_INFINITY];
    let prompt = Adjustment::IN_PROMPT;
    let penalized = |repetition_penalty, frequency_penalty, presence_penalty| SamplingParameters {
        repetition_penalty,
        frequency_penalty,
        presence_penalty,
        has_adjustments: 1,
        ..GREEDY
    };
    let cases = [
        (penalized(1.0, 0.0, 0.0), vec![(3, 4.5, 0)], 3),
        (
            penalized(1.0, 0.0, 0.0),
            vec![(0, f32::NEG_INFINITY, 0), (1, f32::NEG_INFINITY, 0), (4, 100.0, 0)],
            2,
        ),
        (penalized(1.25, 0.0, 0.0), vec![(0, 0.0, prompt)], 1),
        (penalized(0.25, 0.0, 0.0), vec![(3, 0.0, 1)], 0),
        (penalized(1.0, 0.25, 0.0), vec![(0, 0.0, prompt)], 0),
        (penalized(1.0, 0.25, 0.0), vec![(0, 0.0, 1)], 1),
        (penalized(1.0, 0.0, 0.5), vec![(0, 0.0, 9), (1, 0.0, 3)], 0),
        (penalized(1.0, 0.0, 0.5), vec![(0, 0.0, prompt | 1)], 1),
    ];
    with_gpu(async |gpu| {
        let mut executors = Executors::new(&gpu, logits.len() as u32).await;
        for (sampling, adjusted, expected) in cases {
            executors.set_parameters(&sampling);
            executors.adjust(&adjusted);
            let token = executors
                .sample(&logits, step(0), &format!("{sampling:?}, {adjusted:?}"))
                .await
                .token;
            assert_eq!(token, expected, "{sampling:?}, {adjusted:?}");
        }
        // Sampled tokens are counted, and their penalties change the next ones.
        executors.set_parameters(&penalized(1.0, 0.5, 0.0));
        executors.adjust(&[]);
        let mut tokens = Vec::new();
        for position in 0..5 {
            tokens.push(executors.sample(&logits, step(position), "counted").await.token);
        }
        assert_eq!(tokens, [0, 1, 0, 1, 0]);
    });
}

#[test]
fn stop_tokens_and_bad_logits_are_reported() {
    with_gpu(async |gpu| {
        let mut executors = Executors::new(&gpu, 100).await;
        let mut stop_tokens = [SamplingParameters::NO_TOKEN; SamplingParameters::MAX_STOP_TOKENS];
        stop_tokens[SamplingParameters::MAX_STOP_TOKENS - 1] = 42;
        let mut logits = vec![1.0; 100];
        logits[42] = 2.0;
        for sampling in [
            GREEDY,
            SamplingParameters { top_k: 1, ..CUT },
            SamplingParameters { temperature: 0.01, ..DRAWN },
        ] {
            executors.set_parameters(&SamplingParameters { stop_tokens, ..sampling });
            let sampled_token = executors.sample(&logits, step(4), "a stop token").await;
            let end =
                SampledToken { position: 5, rows: 0, token: 42, flags: SampledToken::STOPPED };
            assert_eq!(sampled_token, end);
            // The step after a stop token has no rows and keeps its token.
            let after = Step { position: 5, rows: 0 };
            assert_eq!(executors.sample(&[3.0; 100], after, "after a stop token").await, end);
            for (token, bad) in [(3, f32::NAN), (7, -f32::NAN), (99, f32::INFINITY)] {
                let mut logits = logits.clone();
                logits[token as usize] = bad;
                let sampled_token = executors.sample(&logits, step(4), "a bad logit").await;
                assert_eq!(
                    sampled_token,
                    SampledToken { position: 5, rows: 0, token, flags: SampledToken::BAD_LOGIT }
                );
            }
            let sampled_token =
                executors.sample(&[f32::NEG_INFINITY; 100], step(4), "nothing left").await;
            assert_eq!((sampled_token.rows, sampled_token.flags), (0, SampledToken::NOTHING_LEFT));
        }
    });
}

/// Probability of each token: sorts, cuts and normalizes in `f64`, independently of the reference.
fn probabilities(logits: &[f32], sampling: &SamplingParameters) -> Vec<f64> {
    let wide: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let mut order: Vec<usize> = (0..wide.len()).collect();
    order.sort_by(|a, b| wide[*b].total_cmp(&wide[*a]).then(a.cmp(b)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    let greatest = wide[order[0]];
    let total: f64 = order.iter().map(|token| (wide[*token] - greatest).exp()).sum();
    let mut before = 0.0;
    order.retain(|token| {
        let kept = before < f64::from(sampling.top_p) * total;
        before += (wide[*token] - greatest).exp();
        kept && wide[*token] >= greatest + f64::from(sampling.log_min_p)
    });
    let heated =
        |token: &usize| ((wide[*token] - greatest) / f64::from(sampling.temperature)).exp();
    let total: f64 = order.iter().map(heated).sum();
    let mut probabilities = vec![0.0; wide.len()];
    for token in order {
        probabilities[token] = heated(&token) / total;
    }
    probabilities
}

#[test]
fn draws_follow_the_distribution() {
    const DRAWS: u32 = 1200;
    let logits: Vec<f32> =
        (0..300).map(|i| (i as f32 * 0.7).sin() * 3.0 - i as f32 * 0.01).collect();
    let cases = [
        DRAWN,
        SamplingParameters { top_k: 12, temperature: 1.7, ..CUT },
        SamplingParameters { top_p: 0.6, temperature: 1.2, ..CUT },
        SamplingParameters { log_min_p: 0.2_f32.ln(), temperature: 0.8, ..CUT },
        SamplingParameters {
            top_k: 60,
            top_p: 0.7,
            log_min_p: 0.1_f32.ln(),
            temperature: 1.2,
            ..CUT
        },
    ];
    with_gpu(async |gpu| {
        let mut executors =
            Executors::with_head(&gpu, &logits, Format::F32, MatvecStrategy::default(), 1 << 27)
                .await;
        for (case, sampling) in cases.iter().enumerate() {
            executors.set_parameters(sampling);
            executors.adjust(&[]);
            // Alternately with and without `adjust_logits`; `sample` counts what it sampled.
            for draw in 0..DRAWS {
                let step = step(case as u32 * DRAWS + draw);
                executors.gpu.run(0, 0..1, step, None);
                executors.gpu.run(1, executors.sampling_plan.kernels(draw % 2 == 0), step, None);
            }
            let counts =
                executors.gpu.read(1, executors.sampling_plan.buffers.adjustments).await.unwrap();
            let counts = counts.chunks_exact(2).map(|pair| f64::from(pair[1].to_bits()));
            let (mut statistic, mut freedom, mut drawn) = (0.0, 0.0, 0.0);
            for (count, probability) in counts.zip(probabilities(&logits, sampling)) {
                let expected = probability * f64::from(DRAWS);
                assert!(
                    expected > 0.0 || count == 0.0,
                    "{sampling:?}: a token that is cut was drawn {count} times"
                );
                drawn += count;
                if expected > 4.0 {
                    statistic += (count - expected).powi(2) / expected;
                    freedom += 1.0;
                }
            }
            assert_eq!(drawn, f64::from(DRAWS));
            // A chi-square test; the bound is far above the 0.999 quantile.
            let bound = freedom + 4.0 * f64::sqrt(2.0 * freedom) + 8.0;
            assert!(statistic < bound, "{sampling:?}: chi-square {statistic}, bound {bound}");
        }
    });
}
