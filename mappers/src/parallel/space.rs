//! The settings of a training step that a search may choose among: how the devices are shared out, and what the step leaves open.

use super::error::ParallelError;
use super::lists::Context as Lists;
use super::settings::{Context, Parallel, Recompute, Schedule, Train, Zero};
use super::shape::Shape;
use super::software::Software;
use crate::space::{Knob, of_values};

/// How a model is spread, and what a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// `[parallel]`.
    pub parallel: Parallel,
    /// `[train]`.
    pub train: Train,
}

/// Sequences of a micro batch are tried up to so many.
const MOST_SEQUENCES: u32 = 64;

/// Values that are open, by key; one alone where the key is pinned.
#[derive(Debug, Clone)]
pub struct Settings {
    written: Setting,
    layers: u32,
    tp: Vec<u32>,
    sequence: Vec<bool>,
    cp: Vec<u32>,
    context: Vec<Context>,
    pp: Vec<u32>,
    /// Not listed where open: what divides the layers of a stage.
    virtual_stages: Option<u32>,
    schedule: Vec<Schedule>,
    dp: Option<u32>,
    zero: Vec<Zero>,
    ep: Vec<u32>,
    expert_tp: Vec<u32>,
    micro_batch: Vec<u32>,
    recompute: Vec<Recompute>,
}

fn divisors(n: u32) -> Vec<u32> {
    (1..=n).filter(|d| n.is_multiple_of(*d)).collect()
}

fn named<T: serde::Serialize>(values: &[T]) -> Vec<toml::Value> {
    values.iter().filter_map(|v| toml::Value::try_from(v).ok()).collect()
}

const SCHEDULES: [Schedule; 8] = [
    Schedule::OneForwardOneBackward,
    Schedule::Interleaved,
    Schedule::Gpipe,
    Schedule::ZbH1,
    Schedule::ZbH2,
    Schedule::Zb1p,
    Schedule::Zb2p,
    Schedule::ZbV,
];

impl Settings {
    /// What is open beside a setting on as many devices; `pinned` says of a key (`parallel.tp`) whether it stays as written.
    pub fn new(shape: &Shape, software: &Software, written: Setting, pinned: &dyn Fn(&str) -> bool) -> Self {
        let p = written.parallel;
        let devices = p.inner_ranks();
        let counts = |key: &str, now: u32, all: Vec<u32>| if pinned(key) { vec![now] } else { all };
        // Frameworks without attention as one kernel do not cut a sequence either: their lists have no exchange of keys.
        let context_parallel = software.flash_attention || p.cp > 1;
        let of_experts = |all: Vec<u32>| if shape.experts.is_some() { all } else { vec![1] };
        let experts = shape.experts.map_or(1, |e| e.count);
        Self {
            written,
            layers: shape.layers,
            tp: counts("parallel.tp", p.tp, divisors(devices)),
            sequence: if pinned("parallel.sequence") { vec![p.sequence] } else { vec![false, true] },
            cp: counts("parallel.cp", p.cp, if context_parallel { divisors(devices) } else { vec![1] }),
            context: if pinned("parallel.context") {
                vec![p.context]
            } else {
                vec![Context::Ring, Context::Ulysses, Context::AllGather]
            },
            pp: counts("parallel.pp", p.pp, divisors(devices)),
            virtual_stages: pinned("parallel.virtual_stages").then_some(p.virtual_stages),
            schedule: if pinned("parallel.schedule") { vec![p.schedule] } else { SCHEDULES.to_vec() },
            dp: pinned("parallel.dp").then_some(p.dp),
            zero: if pinned("parallel.zero") {
                vec![p.zero]
            } else {
                vec![Zero::None, Zero::Optimizer, Zero::Gradients, Zero::Weights]
            },
            ep: counts("parallel.ep", p.ep, of_experts(divisors(experts))),
            expert_tp: if pinned("parallel.expert_tp") || shape.experts.is_none() {
                vec![p.expert_tp]
            } else {
                vec![0, 1]
            },
            micro_batch: counts(
                "train.micro_batch",
                written.train.micro_batch,
                divisors(written.train.global_batch).into_iter().filter(|m| *m <= MOST_SEQUENCES).collect(),
            ),
            recompute: if pinned("train.recompute") {
                vec![written.train.recompute]
            } else {
                vec![Recompute::None, Recompute::Selective, Recompute::Full]
            },
        }
    }

    /// What is open, as the choices of a mapper.
    pub fn knobs(&self) -> Vec<Knob> {
        let counts =
            |key, meaning, values: &[u32]| Knob::whole(key, meaning, of_values(values.iter().copied().map(i64::from)));
        let names = |key, meaning, values: Vec<toml::Value>| Knob::whole(key, meaning, values);
        let chunks: Vec<u32> = match self.virtual_stages {
            Some(v) => vec![v],
            None => divisors(self.layers)
                .into_iter()
                .filter(|v| self.pp.iter().any(|pp| self.layers.is_multiple_of(v * pp)))
                .collect(),
        };
        let all = vec![
            counts("parallel.tp", "ranks that a layer's weights and heads are cut over", &self.tp),
            names(
                "parallel.sequence",
                "norms and dropout are cut over them by tokens",
                of_values(self.sequence.iter().copied()),
            ),
            counts("parallel.cp", "ranks that a sequence is cut over", &self.cp),
            names("parallel.context", "how attention sees the keys of other ranks' tokens", named(&self.context)),
            counts("parallel.pp", "stages of the pipeline; replicas take the rest of the devices", &self.pp),
            counts("parallel.virtual_stages", "chunks of layers of a stage", &chunks),
            names("parallel.schedule", "order of the micro batches", named(&self.schedule)),
            names("parallel.zero", "what replicas share out", named(&self.zero)),
            counts("parallel.ep", "ranks that the experts are cut over", &self.ep),
            counts("parallel.expert_tp", "ranks that an expert is cut over; 0 for as many as tp", &self.expert_tp),
            counts("train.micro_batch", "sequences of a micro batch", &self.micro_batch),
            names("train.recompute", "what is computed again in the backward pass", named(&self.recompute)),
        ];
        all.into_iter().filter(|k| k.values.len() > 1).collect()
    }

    /// Values of a setting, by key.
    pub fn of(setting: &Setting) -> Vec<(&'static str, toml::Value)> {
        let (p, t) = (&setting.parallel, &setting.train);
        let count = |v: u32| toml::Value::from(i64::from(v));
        let name = |v: Result<toml::Value, toml::ser::Error>| v.unwrap_or_else(|_| toml::Value::from(""));
        vec![
            ("parallel.tp", count(p.tp)),
            ("parallel.sequence", p.sequence.into()),
            ("parallel.cp", count(p.cp)),
            ("parallel.context", name(toml::Value::try_from(p.context))),
            ("parallel.pp", count(p.pp)),
            ("parallel.virtual_stages", count(p.virtual_stages)),
            ("parallel.schedule", name(toml::Value::try_from(p.schedule))),
            ("parallel.dp", count(p.dp)),
            ("parallel.zero", name(toml::Value::try_from(p.zero))),
            ("parallel.ep", count(p.ep)),
            ("parallel.expert_tp", count(p.expert_tp)),
            ("train.micro_batch", count(t.micro_batch)),
            ("train.recompute", name(toml::Value::try_from(t.recompute))),
        ]
    }

    /// Every setting on as many devices, whether or not it is legal; what changes nothing beside the others is left as it is.
    pub fn each(&self, mut visit: impl FnMut(Setting)) {
        let devices = self.written.parallel.inner_ranks();
        for (tp, cp, pp) in self.cuts(devices) {
            let dp = devices / (tp * cp * pp);
            if self.dp.is_some_and(|pinned| pinned != dp) {
                continue;
            }
            for sequence in only_if(tp > 1, &self.sequence, false) {
                for context in only_if(cp > 1, &self.context, self.written.parallel.context) {
                    for (schedule, virtual_stages) in self.orders(pp) {
                        for zero in only_if(dp * cp > 1, &self.zero, Zero::None) {
                            for (ep, expert_tp) in self.experts(tp) {
                                let parallel = Parallel {
                                    tp,
                                    sequence,
                                    pp,
                                    virtual_stages,
                                    schedule,
                                    dp,
                                    zero,
                                    ep,
                                    expert_tp,
                                    cp,
                                    context,
                                    ..self.written.parallel
                                };
                                for micro_batch in self.micro_batch.iter().copied() {
                                    for recompute in self.recompute.iter().copied() {
                                        let train = Train { micro_batch, recompute, ..self.written.train };
                                        visit(Setting { parallel, train });
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn cuts(&self, devices: u32) -> Vec<(u32, u32, u32)> {
        let mut all = Vec::new();
        for tp in self.tp.iter().copied() {
            for cp in self.cp.iter().copied() {
                for pp in self.pp.iter().copied() {
                    let product = tp.checked_mul(cp).and_then(|n| n.checked_mul(pp)).filter(|n| *n > 0);
                    if product.is_some_and(|n| devices.is_multiple_of(n)) {
                        all.push((tp, cp, pp));
                    }
                }
            }
        }
        all
    }

    fn experts(&self, tp: u32) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        for ep in self.ep.iter().copied() {
            for expert_tp in self.expert_tp.iter().copied().filter(|e| *e != tp || self.expert_tp.len() == 1) {
                all.push((ep, expert_tp));
            }
        }
        all
    }

    /// Orders of so many stages with their chunks: one stage has one order.
    fn orders(&self, pp: u32) -> Vec<(Schedule, u32)> {
        let chunks: Vec<u32> = match self.virtual_stages {
            Some(v) => vec![v],
            None if pp == 1 => vec![1],
            None => (1..=self.layers / pp.max(1)).filter(|v| *v == 1 || self.layers.is_multiple_of(v * pp)).collect(),
        };
        let mut all = Vec::new();
        for v in chunks {
            for schedule in self.schedule.iter().copied() {
                let distinct = match schedule {
                    Schedule::OneForwardOneBackward => v == 1 || self.schedule.len() == 1,
                    Schedule::Interleaved => pp > 1 && v > 1 || self.schedule.len() == 1,
                    Schedule::ZbV => pp > 1 && v == 2,
                    Schedule::Gpipe => pp > 1 || self.schedule.len() == 1,
                    _ => pp > 1 && v == 1,
                };
                if distinct {
                    all.push((schedule, v));
                }
            }
        }
        all
    }

    /// Whether a setting is legal: micro batches of its step.
    ///
    /// # Errors
    /// Something does not divide what it cuts.
    pub fn check(shape: &Shape, software: &Software, setting: &Setting) -> Result<u32, ParallelError> {
        let p = &setting.parallel;
        let micros = super::check::check(&Lists { shape, parallel: p, train: &setting.train, software })?;
        let interleaved = matches!(p.schedule, Schedule::OneForwardOneBackward | Schedule::Interleaved);
        if interleaved && p.virtual_stages > 1 && !micros.is_multiple_of(p.pp) {
            // Megatron-LM `schedules.py` refuses it too: groups of micro batches would wait for each other.
            let problem = "has groups of as many micro batches as stages, which those of the step do not fill";
            return Err(ParallelError::new("parallel.virtual_stages", problem).help("use 1, or fewer stages"));
        }
        Ok(micros)
    }
}

/// All values where they change something, else one.
fn only_if<T: Copy>(changes: bool, values: &[T], else_: T) -> Vec<T> {
    if changes { values.to_vec() } else { vec![else_] }
}
