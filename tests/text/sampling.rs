//! Sampling on the host: distribution of draws, exact penalties, reproducible tokens per seed.

use tablm::sampling::{Sampler, SamplerOptions};

use super::Random;

/// Vocabulary size of the sampler: larger than any row of logits in these tests.
const VOCABULARY: u32 = 6000;

fn sampler(options: SamplerOptions) -> Sampler {
    Sampler::new(&options, VOCABULARY).expect("options in range")
}

fn greedy() -> SamplerOptions {
    SamplerOptions { temperature: 0.0, ..SamplerOptions::default() }
}

/// A number in 0 … 1.
fn uniform(random: &mut Random) -> f32 {
    (random.next() >> 40) as f32 / 2.0_f32.powi(24)
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// Probability of each token, computed in `f64` independently of the sampler: sorts, cuts and
/// renormalizes.
fn expected(logits: &[f32], options: &SamplerOptions) -> Vec<f64> {
    let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
    let mut order: Vec<usize> = (0..wide.len()).collect();
    order.sort_by(|&a, &b| wide[b].total_cmp(&wide[a]).then(a.cmp(&b)));
    if options.top_k > 0 {
        order.truncate(options.top_k as usize);
    }
    if options.top_p < 1.0 {
        let kept: Vec<f64> = order.iter().map(|&token| wide[token]).collect();
        let mut reached = 0.0;
        let mut count = 0;
        for probability in softmax(&kept) {
            reached += probability;
            count += 1;
            if reached >= f64::from(options.top_p) {
                break;
            }
        }
        order.truncate(count);
    }
    let greatest = wide[order[0]];
    order.retain(|&token| (wide[token] - greatest).exp() >= f64::from(options.min_p));
    let scaled: Vec<f64> =
        order.iter().map(|&token| wide[token] / f64::from(options.temperature)).collect();
    let mut probabilities = vec![0.0; wide.len()];
    for (token, probability) in order.into_iter().zip(softmax(&scaled)) {
        probabilities[token] = probability;
    }
    probabilities
}

/// Compares many draws with the expected distribution by a chi-square test with a bound far above
/// the 0.999 quantile. Tokens expected fewer than 8 times are counted together.
fn check_distribution(logits: &[f32], options: SamplerOptions) {
    let draws = if logits.len() < 100 { 40_000 } else { 6_000 };
    let probabilities = expected(logits, &options);
    let mut sampler = sampler(options.clone());
    let mut counts = vec![0usize; logits.len()];
    for position in 0..draws {
        counts[sampler.sample(logits, position).expect("a token") as usize] += 1;
    }
    let (mut statistic, mut degrees_of_freedom) = (0.0_f64, 0.0_f64);
    let (mut rare_count, mut rare_expected) = (0.0_f64, 0.0_f64);
    for (&count, probability) in counts.iter().zip(probabilities) {
        let expected = probability * f64::from(draws);
        assert!(
            probability > 0.0 || count == 0,
            "{options:?}: a token that was cut was drawn {count} times"
        );
        if expected < 8.0 {
            rare_count += count as f64;
            rare_expected += expected;
            continue;
        }
        statistic += (count as f64 - expected).powi(2) / expected;
        degrees_of_freedom += 1.0;
    }
    if rare_expected > 0.0 {
        statistic += (rare_count - rare_expected).powi(2) / rare_expected.max(1.0);
        degrees_of_freedom += 1.0;
    }
    let bound = degrees_of_freedom + 4.0 * (2.0 * degrees_of_freedom).sqrt() + 8.0;
    assert!(statistic < bound, "{options:?}: chi-square {statistic}, expected below {bound}");
}

#[test]
fn draws_follow_the_distribution() {
    let mut random = Random(21);
    let few: Vec<f32> = (0..12).map(|index| (index as f32 * 0.7).sin() * 3.0).collect();
    let many: Vec<f32> = (0..5000).map(|_| uniform(&mut random) * 9.0).collect();
    let base = SamplerOptions { seed: 17, ..SamplerOptions::default() };
    let all = [
        base.clone(),
        SamplerOptions { temperature: 0.3, ..base.clone() },
        SamplerOptions { temperature: 2.0, ..base.clone() },
        SamplerOptions { top_k: 1, ..base.clone() },
        SamplerOptions { top_k: 5, temperature: 1.7, ..base.clone() },
        SamplerOptions { top_p: 0.8, ..base.clone() },
        SamplerOptions { top_p: 1e-9, ..base.clone() },
        SamplerOptions { min_p: 0.2, temperature: 0.8, ..base.clone() },
        SamplerOptions { min_p: 1.0, ..base.clone() },
        SamplerOptions { top_k: 8, top_p: 0.7, min_p: 0.1, temperature: 1.2, ..base.clone() },
    ];
    for options in all {
        check_distribution(&few, options.clone());
    }
    check_distribution(&many, SamplerOptions { top_p: 0.15, ..base.clone() });
    check_distribution(&many, SamplerOptions { top_k: 40, top_p: 0.9, ..base });
}

#[test]
fn rounding_of_logits_rarely_changes_a_draw() {
    const DRAWS: u32 = 1000;
    let mut random = Random(3);
    let mut unit = || uniform(&mut random);
    let logits: Vec<f32> = (0..5000).map(|_| unit()).collect();
    let rounded: Vec<f32> = logits.iter().map(|logit| logit + (unit() - 0.5) * 1e-3).collect();
    let mut sampler = sampler(SamplerOptions::default());
    let mut draw = |logits, position| sampler.sample(logits, position).expect("a token");
    let changed =
        (0..DRAWS).filter(|position| draw(&logits, *position) != draw(&rounded, *position)).count();
    // A draw changes only where the two greatest scores are closer than the rounding; inversion of
    // the cumulative distribution would change about twenty.
    assert!(changed <= 3, "{changed} of {DRAWS} draws changed");
}

#[test]
fn temperature_zero_takes_the_first_of_the_greatest_logits() {
    let mut sampler = sampler(greedy());
    let mut sample = |logits: &[f32]| sampler.sample(logits, 0).expect("a token");
    assert_eq!(sample(&[0.5, 2.0, f32::NEG_INFINITY, 2.0]), 1);
    assert_eq!(sample(&[-3.0; 7]), 0);
    assert_eq!(sample(&[-1.0, -0.0, 0.0]), 1);
}

#[test]
fn penalties_are_exact() {
    let logits = [3.0, 2.9, 2.0, -1.0];
    let choose = |options: SamplerOptions, prompt: &[u32], generated: &[u32]| {
        let mut sampler = sampler(options);
        sampler.accept_prompt(prompt);
        generated.iter().for_each(|&token| sampler.accept(token));
        sampler.sample(&logits, 0).expect("a token")
    };
    // 3 / 1.03 = 2.913, 3 / 1.04 = 2.885: the second token, at 2.9, wins between them.
    let repetition = |penalty| SamplerOptions { repetition_penalty: penalty, ..greedy() };
    assert_eq!(choose(repetition(1.03), &[0], &[]), 0);
    assert_eq!(choose(repetition(1.04), &[0], &[]), 1);
    assert_eq!(choose(repetition(1.04), &[], &[0, 0]), 1);
    // A frequency penalty counts what was generated, not the prompt.
    let frequency = |penalty| SamplerOptions { frequency_penalty: penalty, ..greedy() };
    assert_eq!(choose(frequency(0.04), &[0, 0, 0], &[0, 0]), 0);
    assert_eq!(choose(frequency(0.04), &[], &[0, 0, 0]), 1);
    let presence = |penalty| SamplerOptions { presence_penalty: penalty, ..greedy() };
    assert_eq!(choose(presence(0.09), &[], &[0, 0, 0]), 0);
    assert_eq!(choose(presence(0.11), &[], &[0]), 1);
    assert_eq!(choose(presence(-1.2), &[], &[2]), 2);
    let bias = |bias: &[(u32, f32)]| SamplerOptions { logit_bias: bias.to_vec(), ..greedy() };
    assert_eq!(choose(bias(&[(3, 4.5), (9999, 1.0)]), &[], &[]), 3);
    assert_eq!(choose(bias(&[(0, -100.0), (1, -100.0)]), &[], &[]), 2);
    // Ids beyond the vocabulary are ignored, up to the largest.
    assert_eq!(choose(bias(&[(u32::MAX, 100.0)]), &[u32::MAX], &[u32::MAX]), 0);
    // Negative logits are multiplied.
    let mut negative = sampler(repetition(2.0));
    negative.accept(0);
    assert_eq!(negative.sample(&[-1.0, -1.5], 0).expect("a token"), 1);
}

#[test]
fn seed_determines_the_tokens_on_every_platform() {
    let logits: Vec<f32> = (0..100).map(|index| ((index * 37) % 100) as f32 / 20.0).collect();
    let draw = |seed: u64| -> Vec<u32> {
        let mut sampler = sampler(SamplerOptions { seed, top_k: 50, ..SamplerOptions::default() });
        (0..12).map(|position| sampler.sample(&logits, position).expect("a token")).collect()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_eq!(draw(42), RECORDED);
}

/// Tokens drawn with seed 42, recorded once: platforms and later versions must draw them too.
const RECORDED: [u32; 12] = [40, 54, 16, 5, 54, 16, 89, 43, 37, 54, 51, 21];

#[test]
fn options_out_of_range_are_named() {
    let base = SamplerOptions::default;
    let cases = [
        ("temperature", SamplerOptions { temperature: -0.1, ..base() }),
        ("temperature", SamplerOptions { temperature: 2.01, ..base() }),
        ("temperature", SamplerOptions { temperature: f32::NAN, ..base() }),
        ("temperature", SamplerOptions { temperature: f32::INFINITY, ..base() }),
        ("top_p", SamplerOptions { top_p: -0.1, ..base() }),
        ("top_p", SamplerOptions { top_p: 1.5, ..base() }),
        ("top_k", SamplerOptions { top_k: 1 << 31, ..base() }),
        ("min_p", SamplerOptions { min_p: -1.0, ..base() }),
        ("min_p", SamplerOptions { min_p: f32::NAN, ..base() }),
        ("repetition_penalty", SamplerOptions { repetition_penalty: 0.0, ..base() }),
        ("repetition_penalty", SamplerOptions { repetition_penalty: 10.5, ..base() }),
        ("frequency_penalty", SamplerOptions { frequency_penalty: 2.5, ..base() }),
        ("presence_penalty", SamplerOptions { presence_penalty: f32::NEG_INFINITY, ..base() }),
        ("logit_bias.1", SamplerOptions { logit_bias: vec![(0, 1.0), (1, 200.0)], ..base() }),
        ("logit_bias", SamplerOptions { logit_bias: vec![(0, 1.0); 1025], ..base() }),
    ];
    for (field, options) in cases {
        let error = Sampler::new(&options, VOCABULARY).expect_err(field);
        assert_eq!(error.code().as_str(), "invalid-request");
        assert!(
            error.message().starts_with(&format!("{field}: "))
                && error.message().contains("expected"),
            "{error}"
        );
    }
}

/// Behavior of the OpenAI API.
#[test]
fn top_p_zero_takes_the_greatest_logit() {
    let options = SamplerOptions { top_p: 0.0, seed: 3, ..SamplerOptions::default() };
    let logits = [0.5, 2.0, 2.0, -1.0];
    for position in 0..50 {
        assert_eq!(sampler(options.clone()).sample(&logits, position).expect("a token"), 1);
    }
}

#[test]
fn logits_that_cannot_be_sampled_are_an_error() {
    for options in [greedy(), SamplerOptions::default()] {
        let mut sampler = sampler(options);
        for logits in [&[][..], &[f32::NAN, 1.0], &[1.0, f32::INFINITY], &[f32::NEG_INFINITY; 3]] {
            assert_eq!(
                sampler.sample(logits, 0).expect_err("bad logits").code().as_str(),
                "malformed"
            );
        }
    }
    let mut banned =
        sampler(SamplerOptions { logit_bias: vec![(0, -100.0)], ..SamplerOptions::default() });
    assert_eq!(banned.sample(&[1.0], 0).expect_err("nothing left").code().as_str(), "malformed");
    let extreme = [f32::MAX, f32::MIN, 0.0];
    for options in
        [greedy(), SamplerOptions { top_p: 0.5, min_p: 0.5, top_k: 2, ..SamplerOptions::default() }]
    {
        assert_eq!(sampler(options).sample(&extreme, 0).expect("a token"), 0);
    }
}
