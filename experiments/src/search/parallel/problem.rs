//! The settings of a training experiment: which there are, which are legal, which is written.

use std::collections::BTreeMap;

use banksia_mappers::parallel::experiment::Setup;
use banksia_mappers::parallel::floor::does_not_fit;
use banksia_mappers::parallel::lists::Context;
use banksia_mappers::parallel::space::{Setting, Settings};

use super::super::objective::Objective;
use super::super::space::inline;

/// A legal setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) setting: Setting,
    pub(super) micros: u32,
}

/// A setting that was simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Simulated {
    pub(super) point: usize,
    pub(super) latency_s: f64,
    pub(super) energy_j: f64,
    pub(super) bound_s: f64,
    pub(super) value: f64,
}

/// An experiment's settings.
pub(super) struct Problem {
    pub(super) setup: Setup,
    pub(super) settings: Settings,
    pub(super) points: Vec<Point>,
    /// The setting as the experiment writes it, where it is legal.
    pub(super) written: Option<usize>,
    /// Settings that are not legal, by what they break.
    pub(super) refused: BTreeMap<String, u64>,
    /// Tokens of a step.
    pub(super) tokens: f64,
    /// The model's name.
    pub(super) model: String,
}

impl Problem {
    pub(super) fn new(setup: Setup, model: &str, pinned: &dyn Fn(&str) -> bool) -> Self {
        let Setup { shape, software, gpu, written, .. } = &setup;
        let settings = Settings::new(shape, software, *written, pinned);
        let mut points = Vec::new();
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        let mut add = |setting: Setting| -> Option<usize> {
            let reason = match Settings::check(shape, software, &setting) {
                Err(e) => format!("`{}` {}", e.key, e.problem),
                Ok(micros) => {
                    let context = Context { shape, parallel: &setting.parallel, train: &setting.train, software };
                    match does_not_fit(&context, gpu, micros) {
                        None => {
                            points.push(Point { setting, micros });
                            return Some(points.len() - 1);
                        }
                        Some(most) => format!("`parallel` does not fit the memory of a {}, for {most}", gpu.name),
                    }
                }
            };
            *refused.entry(reason).or_insert(0) += 1;
            None
        };
        settings.each(|setting| {
            add(setting);
        });
        let written_setting = *written;
        let place = points.iter().position(|p| p.setting == written_setting);
        let written_place = place.or_else(|| {
            // A setting that no list has: it is a point of its own.
            let micros = Settings::check(shape, software, &written_setting).ok()?;
            let context =
                Context { shape, parallel: &written_setting.parallel, train: &written_setting.train, software };
            does_not_fit(&context, gpu, micros).is_none().then(|| {
                points.push(Point { setting: written_setting, micros });
                points.len() - 1
            })
        });
        let tokens = f64::from(written.train.global_batch) * f64::from(written.train.sequence);
        Self { settings, points, written: written_place, refused, tokens, model: model.to_owned(), setup }
    }

    pub(super) fn value(&self, objective: Objective, seconds: f64, joules: f64) -> f64 {
        objective.of(seconds, joules, self.tokens)
    }

    /// The devices, in words.
    pub(super) fn machine(&self) -> String {
        format!("{} x {}", self.setup.written.parallel.ranks(), self.setup.gpu.name)
    }

    /// What an operator's time depends on, and what a step's does beside its setting.
    pub(super) fn contents(&self) -> (String, String) {
        let Setup { shape, gpu, cluster, software, .. } = &self.setup;
        let device = format!("{gpu:?}");
        let whole = format!("{device}\n{cluster:?}\n{shape:?}\n{software:?}");
        (device, whole)
    }
}

/// What a setting sets, by key of the experiment.
pub(super) fn settings(setting: &Setting) -> BTreeMap<String, String> {
    Settings::of(setting).into_iter().map(|(key, value)| (key.to_owned(), inline(&value))).collect()
}
