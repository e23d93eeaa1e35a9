//! The choice of the next token, and the step that follows.

use super::sampling::{BAD_KEY, LEAST_KEY, key_of, logit_of};
use super::{Binding, CpuMemory, KernelRules, Picked, Sampling, SamplingBuffers, Step};

/// Chooses from what [`super::Candidates`] or the product of the logits left: the best of the quads, of equal ones the lowest id; or
/// by top-k, top-p and min-p on the distribution before temperature, temperature, and a draw.
/// Does nothing in a step of no rows.
#[derive(Debug, Clone)]
pub struct Pick(pub SamplingBuffers);

impl KernelRules for Pick {
    const NAME: &'static str = "pick";
    const SHADER: &'static str = include_str!("../../shaders/pick.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.0.sampling),
            Binding::read(self.0.logits.buffer),
            Binding::read(self.0.best),
            Binding::write(self.0.adjustments),
            Binding::write(self.0.tokens),
            Binding::write(self.0.picked),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let vocabulary = self.0.logits.width;
        let fours = vocabulary.div_ceil(4 * SamplingBuffers::QUAD).div_ceil(256);
        vec![("VOCABULARY", vocabulary.into()), ("FOURS", fours.into())]
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [1, 1, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        if step.rows == 0 {
            return;
        }
        let Self(buffers) = self;
        let sampling = memory.sampling(buffers.sampling);
        let greater =
            |best: (u32, u32), other: (u32, u32)| if other.0 > best.0 { other } else { best };
        let keys = memory.read(buffers.best).iter().map(|key| key.to_bits());
        let (_, quad) = keys.zip(0..).fold((0, 0), greater);
        let logits = (0..).zip(memory.row(&buffers.logits, 0));
        let quad = logits
            .skip((quad * SamplingBuffers::QUAD) as usize)
            .take(SamplingBuffers::QUAD as usize);
        let scores = quad.map(|(id, logit)| (sampling.score_key(step, id, *logit), id));
        let (key, mut token) = scores.fold((0, 0), greater);
        let mut flags = 0;
        if key >= BAD_KEY {
            flags = Picked::BAD_LOGIT;
        } else if key <= LEAST_KEY {
            flags = Picked::NOTHING_LEFT;
        } else {
            if sampling.temperature > 0.0 && sampling.cuts != 0 {
                token = draw(&sampling, step, memory.row(&buffers.logits, 0));
            }
            let occurrences = &mut memory.buffer_mut(buffers.adjustments)[token as usize * 2 + 1];
            *occurrences = f32::from_bits(occurrences.to_bits() + 1);
            memory.buffer_mut(buffers.tokens)[0] = f32::from_bits(token);
            if sampling.stops.contains(&token) {
                flags = Picked::STOPPED;
            }
        }
        let words = [step.position + step.rows, u32::from(flags == 0), token, flags];
        memory.buffer_mut(buffers.picked)[..4].copy_from_slice(&words.map(f32::from_bits));
    }
}

/// Sorts, cuts and draws.
fn draw(sampling: &Sampling, step: Step, logits: &[f32]) -> u32 {
    let keys = (0..).zip(logits).map(|(id, logit)| (key_of(*logit), id));
    let mut order: Vec<(u32, u32)> = keys.filter(|(key, _)| *key > LEAST_KEY).collect();
    order.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let greatest = logit_of(order[0].0);
    let distance = |key: u32| f64::from(logit_of(key) - greatest);
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    if sampling.top_p < 1.0 {
        let wanted = order.iter().map(|(key, _)| distance(*key).exp()).sum::<f64>()
            * f64::from(sampling.top_p);
        let mut reached = 0.0;
        let enough = order.iter().position(|(key, _)| {
            reached += distance(*key).exp();
            reached >= wanted
        });
        order.truncate(enough.map_or(order.len(), |last| last + 1));
    }
    let least = key_of(greatest + sampling.min_distance);
    order.retain(|(key, _)| *key >= least);
    let drawn =
        order.into_iter().map(|(key, id)| (sampling.drawn_key(step, id, logit_of(key)), id));
    let best = drawn.reduce(|best, other| {
        let is_better = (other.0, best.1) > (best.0, other.1);
        if is_better { other } else { best }
    });
    best.map_or(0, |(_, id)| id)
}
