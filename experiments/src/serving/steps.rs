//! What steps take: the machine runs few, and those of a load lie between them.
//!
//! Steps that are run lie on a grid: sequences and lengths that double from one to the next. Between its points time and energy are taken to be linear, along each axis; where the machine
//! cannot hold the upper point, the line of the two below is followed on. Of a step in which prompts enter beside sequences that decode, what does not grow with the sequences (twice a
//! step of one less a step of two: reading the weights, on a GPU) is paid once.

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_reports::RunReport;
use banksia_workloads::Generation;

use super::load::{Composition, Steps};
use super::settings::Load;
use crate::experiment::Experiment;
use crate::run;

/// Steps that are taken for alike though contexts grow by a token in each.
const ALIKE: u64 = 16;

/// A step that the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// Sequences that decode, and the context of each.
    Decode([u64; 2]),
    /// Prompts, tokens of each that enter, and those that were there before.
    Prompts([u64; 3]),
}

/// The least value of an axis, and the one from which on values double.
type Axis = (u64, u64);

const SEQUENCES: Axis = (1, 2);
/// Shorter contexts count as this: attention is little of such a step.
const CONTEXT: Axis = (128, 256);
const NEW: Axis = (1, 16);
const PAST: Axis = (0, 512);

/// Where a value lies on an axis: the points below and above it, its share of the way, and the point below the lower one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    below: u64,
    above: u64,
    share: f64,
    further: Option<u64>,
}

fn place(value: f64, (least, first): Axis) -> Place {
    let (below, above, further) = if value < first as f64 {
        (least, first, None)
    } else {
        let mut below = first;
        while (below * 2) as f64 <= value {
            below *= 2;
        }
        (below, below * 2, Some(if below == first { least } else { below / 2 }))
    };
    let share = ((value - below as f64) / (above - below) as f64).max(0.0);
    Place { below, above, share, further }
}

/// Steps that were run, by number, each with its weight.
type Blend = Vec<(usize, f64)>;

/// What kind of step it is, for the report.
pub(super) const PHASES: [&str; 3] = ["prefill", "mixed", "decode"];

const fn phase(step: Composition) -> usize {
    match (step.entered, step.decodes) {
        (0, _) => 2,
        (_, 0) => 0,
        _ => 1,
    }
}

/// Steps of an experiment's model on its machine.
pub(super) struct Simulated<'a> {
    experiment: &'a Experiment,
    load: &'a Load,
    options: RunOptions,
    cache: Option<&'a Arc<dyn LaunchCache>>,
    progress: &'a mut dyn FnMut(u64),
    known: BTreeMap<Point, Result<usize, String>>,
    /// What each step that was run came to.
    pub(super) reports: Vec<RunReport>,
    /// By phase, how much of each of these the load took.
    pub(super) weights: [Vec<f64>; 3],
    /// By phase, the load's steps.
    pub(super) steps: [u64; 3],
    /// Tokens that came of steps that decode, and of prompts that entered.
    pub(super) tokens: [u64; 2],
    last: Option<(Composition, Blend)>,
}

impl<'a> Simulated<'a> {
    pub(super) fn new(
        experiment: &'a Experiment,
        load: &'a Load,
        options: RunOptions,
        cache: Option<&'a Arc<dyn LaunchCache>>,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            experiment,
            load,
            options,
            cache,
            progress,
            known: BTreeMap::new(),
            reports: Vec::new(),
            weights: [const { Vec::new() }; 3],
            steps: [0; 3],
            tokens: [0; 2],
            last: None,
        }
    }

    /// The number of a step that is run, if it was not yet.
    fn number_of(&mut self, point: Point) -> Result<usize, String> {
        if let Some(known) = self.known.get(&point) {
            return known.clone();
        }
        let uniform = |context_tokens, prompt_tokens, batch| Generation {
            context_tokens,
            prompt_tokens,
            batch,
            ignore_position_limit: true,
            ..Generation::default()
        };
        let generation = match point {
            Point::Decode([sequences, context]) => uniform(context - 1, 0, sequences),
            Point::Prompts([sequences, new, past]) => uniform(past, new, sequences),
        };
        let result = self
            .experiment
            .using(&self.load.source, &self.load.machine, generation)
            .map_err(|e| e.to_string())
            .and_then(|e| {
                let report = run::run_with(&e, self.options, self.cache, &mut |_| {}).map_err(|e| e.to_string())?.0;
                self.reports.push(report);
                (self.progress)(self.reports.len() as u64);
                Ok(self.reports.len() - 1)
            });
        self.known.insert(point, result.clone());
        result
    }

    /// Steps between which one lies.
    fn between<const N: usize>(
        &mut self,
        values: [f64; N],
        axes: [Axis; N],
        point: fn([u64; N]) -> Point,
    ) -> Result<Blend, String> {
        let mut places = [place(0.0, SEQUENCES); N];
        for ((p, value), axis) in places.iter_mut().zip(values).zip(axes) {
            *p = place(value, axis);
        }
        let corner = |mask: usize| -> ([u64; N], f64) {
            let mut at = [0; N];
            let mut weight = 1.0;
            for (i, p) in places.iter().enumerate() {
                let above = mask >> i & 1 == 1;
                at[i] = if above { p.above } else { p.below };
                weight *= if above { p.share } else { 1.0 - p.share };
            }
            (at, weight)
        };
        let mut blend = Blend::new();
        let mut failure = None;
        for (at, weight) in (0..1 << N).map(corner).filter(|(_, weight)| *weight != 0.0) {
            match self.number_of(point(at)) {
                Ok(number) => blend.push((number, weight)),
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
        }
        let Some(failure) = failure else { return Ok(blend) };
        // The upper points have no room: on from the lower ones.
        let below = places.map(|p| p.below);
        let Ok(base) = self.number_of(point(below)) else { return Err(failure) };
        let mut blend = vec![(base, 1.0)];
        for (i, p) in places.iter().enumerate() {
            let Some(further) = p.further.filter(|_| p.share > 0.0) else { continue };
            let slope = p.share * (p.above - p.below) as f64 / (p.below - further) as f64;
            let mut at = below;
            at[i] = further;
            let number = self.number_of(point(at))?;
            blend.extend([(base, slope), (number, -slope)]);
        }
        Ok(blend)
    }

    fn seconds_of(&self, blend: &Blend) -> f64 {
        blend.iter().map(|(number, weight)| weight * self.reports[*number].latency_s).sum::<f64>().max(0.0)
    }

    fn blend(&mut self, step: Composition) -> Result<Blend, String> {
        let mut whole = Blend::new();
        if step.entered > 0 {
            let prompts = step.prompts.max(1) as f64;
            let values = [prompts, step.entered as f64 / prompts, step.past as f64 / prompts];
            whole = self.between(values, [SEQUENCES, NEW, PAST], Point::Prompts)?;
        }
        if step.decodes > 0 {
            let context = step.context as f64 / step.decodes as f64;
            let decode = self.between([step.decodes as f64, context], [SEQUENCES, CONTEXT], Point::Decode)?;
            if step.entered > 0 {
                let [one, two] = [1, 2].map(|n| self.number_of(Point::Decode([n, CONTEXT.0])));
                let (one, two) = (one?, two?);
                let shared = 2.0 * self.reports[one].latency_s - self.reports[two].latency_s;
                let most = self.seconds_of(&whole).min(self.seconds_of(&decode));
                if shared > 0.0 {
                    let share = (most / shared).min(1.0);
                    whole.extend([(one, -2.0 * share), (two, share)]);
                }
            }
            whole.extend(decode);
        }
        Ok(whole)
    }
}

impl Steps for Simulated<'_> {
    fn seconds(&mut self, step: Composition) -> Result<f64, String> {
        let blend = self.blend(step)?;
        let seconds = self.seconds_of(&blend);
        self.last = Some((step, blend));
        Ok(seconds)
    }

    fn ran(&mut self, step: Composition, times: u64) {
        let Some((_, blend)) = self.last.take().filter(|(last, _)| *last == step) else { return };
        let phase = phase(step);
        let weights = &mut self.weights[phase];
        weights.resize(self.reports.len(), 0.0);
        for (number, weight) in blend {
            weights[number] += weight * times as f64;
        }
        self.steps[phase] += times;
        self.tokens[0] += step.decodes * times;
        self.tokens[1] += step.entered * times;
    }

    fn alike(&self) -> u64 {
        ALIKE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_points_that_double() {
        let at = |value, axis| {
            let p = place(value, axis);
            (p.below, p.above, p.share, p.further)
        };
        assert_eq!(at(1.0, SEQUENCES), (1, 2, 0.0, None));
        assert_eq!(at(2.0, SEQUENCES), (2, 4, 0.0, Some(1)));
        assert_eq!(at(3.0, SEQUENCES), (2, 4, 0.5, Some(1)));
        assert_eq!(at(12.0, SEQUENCES), (8, 16, 0.5, Some(4)));
        assert_eq!(at(384.0, CONTEXT), (256, 512, 0.5, Some(128)));
        assert_eq!(at(7.0, CONTEXT), (128, 256, 0.0, None));
        assert_eq!(at(0.0, PAST), (0, 512, 0.0, None));
    }
}
