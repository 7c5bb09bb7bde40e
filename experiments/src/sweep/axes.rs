//! The keys that a sweep varies, and the values that they take in each of its points.

use banksia_input::{InputError, Source};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::file::{LogRange, MAX_POINTS, Method, Range, Sample, Vary};

/// Values of a key.
#[derive(Debug)]
enum Values {
    List(Vec<toml::Value>),
    /// Any number between two, of which samples are drawn.
    Between {
        from: f64,
        to: f64,
        logarithmic: bool,
        whole: bool,
    },
}

#[derive(Debug)]
struct Axis {
    key: String,
    values: Values,
}

/// Keys that advance together.
#[derive(Debug)]
struct Group {
    axes: Vec<Axis>,
    /// Values of each; none where they lie between two numbers.
    length: Option<usize>,
}

/// Every combination of the groups' values, the last group fastest; or samples of them.
#[derive(Debug, Default)]
pub(super) struct Axes {
    groups: Vec<Group>,
    points: usize,
    /// Of each sample and group, how far along its values it is, from 0 to 1; empty of a grid.
    samples: Vec<f64>,
}

impl Axes {
    /// Reads what a sweep file varies.
    pub(super) fn read(source: &Source, vary: &[Vary], sample: Option<Sample>) -> Result<Self, InputError> {
        let mut names: Vec<Option<&str>> = Vec::new();
        let mut groups: Vec<Group> = Vec::new();
        for (i, one) in vary.iter().enumerate() {
            let at = format!("vary[{i}]");
            if vary[..i].iter().any(|before| before.key == one.key) {
                return Err(source.error(&format!("{at}.key"), format!("is `{}`, which is varied above", one.key)));
            }
            let values = values(source, &at, one, sample.is_some())?;
            let length = match &values {
                Values::List(list) => Some(list.len()),
                Values::Between { .. } => None,
            };
            let axis = Axis { key: one.key.clone(), values };
            let group = one.zip.as_deref().and_then(|zip| names.iter().position(|n| *n == Some(zip)));
            let Some(group) = group else {
                names.push(one.zip.as_deref());
                groups.push(Group { axes: vec![axis], length });
                continue;
            };
            let group = &mut groups[group];
            if group.length != length {
                let count = |n: Option<usize>| n.map_or("a range".to_owned(), |n| format!("{n} values"));
                let first = &group.axes[0].key;
                let problem =
                    format!("is zipped with `{first}`, which has {}, and has {}", count(group.length), count(length));
                return Err(source.error(&at, problem).help("give keys of one `zip` as many values"));
            }
            group.axes.push(axis);
        }
        let mut this = Self { groups, points: 0, samples: Vec::new() };
        match sample {
            Some(sample) => this.draw(source, sample)?,
            None => this.cross(source)?,
        }
        Ok(this)
    }

    fn cross(&mut self, source: &Source) -> Result<(), InputError> {
        self.points = 1;
        for (i, group) in self.groups.iter().enumerate() {
            self.points = self.points.saturating_mul(group.length.unwrap_or(1));
            if self.points > MAX_POINTS {
                let error = source.error(&format!("vary[{i}]"), format!("makes more than {MAX_POINTS} points"));
                return Err(error.help("draw samples of them: [sample] method = \"latin-hypercube\", points = 1000"));
            }
        }
        Ok(())
    }

    fn draw(&mut self, source: &Source, sample: Sample) -> Result<(), InputError> {
        let n = sample.points as usize;
        if n == 0 || n > MAX_POINTS {
            return Err(source.error("sample.points", format!("is {n}: must be from 1 to {MAX_POINTS}")));
        }
        if self.groups.is_empty() {
            return Err(source.error("sample", "has nothing to draw from").help("vary a key: [[vary]]"));
        }
        self.points = n;
        let width = self.groups.len();
        self.samples = vec![0.0; n * width];
        let mut random = Pcg64::seed_from_u64(sample.seed);
        for group in 0..width {
            let mut places: Vec<usize> = (0..n).collect();
            places.shuffle(&mut random);
            for (i, place) in places.into_iter().enumerate() {
                let within: f64 = random.random();
                self.samples[i * width + group] = match sample.method {
                    Method::Random => within,
                    Method::LatinHypercube => (place as f64 + within) / n as f64,
                };
            }
        }
        Ok(())
    }

    /// Points, of each experiment.
    pub(super) fn len(&self) -> usize {
        self.points
    }

    /// The keys of a point and their values, in the order of the file.
    pub(super) fn settings(&self, index: usize) -> Vec<(&str, toml::Value)> {
        let mut all = Vec::new();
        let (mut rest, mut below) = (index, self.points);
        for (g, group) in self.groups.iter().enumerate() {
            let sampled = self.samples.get(index * self.groups.len() + g);
            let place = match (sampled, group.length) {
                (Some(along), Some(length)) => ((along * length as f64) as usize).min(length - 1),
                (Some(_), None) => 0,
                (None, length) => {
                    below /= length.unwrap_or(1);
                    let place = rest / below;
                    rest %= below;
                    place
                }
            };
            for axis in &group.axes {
                let value = match &axis.values {
                    Values::List(list) => list[place].clone(),
                    Values::Between { from, to, logarithmic, whole } => {
                        between(*from, *to, *logarithmic, *whole, sampled.copied().unwrap_or(0.0))
                    }
                };
                all.push((axis.key.as_str(), value));
            }
        }
        all
    }
}

/// A number so far along between two.
fn between(from: f64, to: f64, logarithmic: bool, whole: bool, along: f64) -> toml::Value {
    if whole {
        // Every whole number has the same room.
        let value = match logarithmic {
            true => from * ((to + 1.0) / from).powf(along),
            false => from + along * (to + 1.0 - from),
        };
        return toml::Value::Integer(value.floor().min(to) as i64);
    }
    toml::Value::Float(if logarithmic { from * (to / from).powf(along) } else { from + along * (to - from) })
}

fn values(source: &Source, at: &str, vary: &Vary, sampled: bool) -> Result<Values, InputError> {
    let forms = [vary.values.is_some(), vary.range.is_some(), vary.log_range.is_some()];
    match (forms.iter().filter(|f| **f).count(), &vary.values, &vary.range, &vary.log_range) {
        (1, Some(list), _, _) if list.is_empty() => Err(source.error(&format!("{at}.values"), "has no value to take")),
        (1, Some(list), _, _) => Ok(Values::List(list.clone())),
        (1, _, Some(range), _) => linear(source, &format!("{at}.range"), range, sampled),
        (1, _, _, Some(range)) => logarithmic(source, &format!("{at}.log_range"), range, sampled),
        _ => {
            let error = source.error(at, "must have one of `values`, `range` and `log_range`");
            Err(error.help("as in: values = [8, 16]; range = { from = 8, to = 64, step = 8 }; log_range = { from = 1024, to = 131072, factor = 2 }"))
        }
    }
}

/// The two ends of a range, and whether both are whole.
fn ends(source: &Source, at: &str, from: &toml::Value, to: &toml::Value) -> Result<(f64, f64, bool), InputError> {
    let of = |key: &str, value: &toml::Value| {
        let number = value.as_integer().map(|i| i as f64).or_else(|| value.as_float());
        let bad = || source.error(&format!("{at}.{key}"), format!("is {value}: must be a number"));
        number.filter(|n| n.is_finite() && n.abs() < 9e15).ok_or_else(bad)
    };
    let (first, last) = (of("from", from)?, of("to", to)?);
    if first > last {
        return Err(source.error(&format!("{at}.to"), format!("is {to}: must be at least `from`, {from}")));
    }
    Ok((first, last, from.is_integer() && to.is_integer()))
}

fn number(value: f64, whole: bool) -> toml::Value {
    // Sums and powers of decimal steps are written as they would be by hand.
    let rounded = format!("{value:.12e}").parse().unwrap_or(value);
    if whole { toml::Value::Integer(value.round() as i64) } else { toml::Value::Float(rounded) }
}

fn many(source: &Source, at: &str) -> InputError {
    source.error(at, format!("has more than {MAX_POINTS} values"))
}

fn linear(source: &Source, at: &str, range: &Range, sampled: bool) -> Result<Values, InputError> {
    let (from, to, whole) = ends(source, at, &range.from, &range.to)?;
    match (&range.step, range.points) {
        (Some(step), None) => {
            let size = step.as_integer().map(|i| i as f64).or_else(|| step.as_float()).unwrap_or(f64::NAN);
            if !(size.is_finite() && size > 0.0) {
                return Err(source.error(&format!("{at}.step"), format!("is {step}: must be above 0")));
            }
            // A last step that ends a rounding short of `to` reaches it.
            let steps = ((to - from) / size * (1.0 + 1e-12)).floor();
            if steps >= MAX_POINTS as f64 {
                return Err(many(source, at));
            }
            let whole = whole && step.is_integer();
            Ok(Values::List((0..=steps as usize).map(|i| number(from + i as f64 * size, whole)).collect()))
        }
        (None, Some(points)) => {
            let n = counted(source, at, points)?;
            let value = |i: usize| from + (to - from) * i as f64 / (n - 1) as f64;
            let mut list: Vec<toml::Value> = (0..n).map(|i| number(value(i), whole)).collect();
            list.dedup();
            Ok(Values::List(list))
        }
        (None, None) if sampled => Ok(Values::Between { from, to, logarithmic: false, whole }),
        (None, None) => {
            let error = source.error(at, "has neither `step` nor `points`");
            Err(error.help("give one, or draw samples: [sample] method = \"latin-hypercube\", points = 1000"))
        }
        _ => Err(source.error(at, "has both `step` and `points`").help("give one of them")),
    }
}

fn logarithmic(source: &Source, at: &str, range: &LogRange, sampled: bool) -> Result<Values, InputError> {
    let (from, to, whole) = ends(source, at, &range.from, &range.to)?;
    if from <= 0.0 {
        return Err(source.error(&format!("{at}.from"), format!("is {}: must be above 0", range.from)));
    }
    match (range.factor, range.points) {
        (Some(factor), None) => {
            if !(factor.is_finite() && factor > 1.0) {
                return Err(source.error(&format!("{at}.factor"), format!("is {factor}: must be above 1")));
            }
            let steps = ((to / from).ln() / factor.ln() + 1e-9).floor();
            if steps >= MAX_POINTS as f64 {
                return Err(many(source, at));
            }
            let mut list: Vec<toml::Value> = (0..=steps as i32).map(|i| number(from * factor.powi(i), whole)).collect();
            list.dedup();
            Ok(Values::List(list))
        }
        (None, Some(points)) => {
            let n = counted(source, at, points)?;
            let value = |i: usize| from * (to / from).powf(i as f64 / (n - 1) as f64);
            let mut list: Vec<toml::Value> = (0..n).map(|i| number(value(i), whole)).collect();
            list.dedup();
            Ok(Values::List(list))
        }
        (None, None) if sampled => Ok(Values::Between { from, to, logarithmic: true, whole }),
        (None, None) => {
            let error = source.error(at, "has neither `factor` nor `points`");
            Err(error.help("give one, or draw samples: [sample] method = \"latin-hypercube\", points = 1000"))
        }
        _ => Err(source.error(at, "has both `factor` and `points`").help("give one of them")),
    }
}

fn counted(source: &Source, at: &str, points: u32) -> Result<usize, InputError> {
    if points < 2 || points as usize > MAX_POINTS {
        return Err(source.error(&format!("{at}.points"), format!("is {points}: must be from 2 to {MAX_POINTS}")));
    }
    Ok(points as usize)
}
