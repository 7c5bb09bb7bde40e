//! What is open in an experiment, and the bounds of its plans.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use banksia_hw::system::{Device, Machine, RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_mappers::{Knob, Plan, Problem, choose};
use banksia_workloads::{Generation, Model};
use rayon::prelude::*;

use super::bound::{Bounder, Chain, Least};
use super::path::{Dues, Path as Course};
use crate::error::Error;
use crate::experiment::Experiment;

/// A plan: a value of each knob, by its number; `None` leaves it to the experiment.
pub(super) type Choice = Vec<Option<usize>>;

/// A value as a setting writes it.
pub(super) fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let parts: Vec<String> = table.iter().map(|(k, v)| format!("{k} = {}", inline(v))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
        other => other.to_string(),
    }
}

/// What `[mapping]` says of a key.
fn said<'a>(mapping: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        Some((table, key)) => mapping.get(table)?.get(key.trim_matches('"')),
        None => mapping.get(key),
    }
}

/// What is open in an experiment.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) name: String,
    pub(super) machine: String,
    pub(super) strategy: String,
    pub(super) knobs: Vec<Knob>,
    pub(super) pinned: Vec<String>,
    /// `[mapping]` as the experiment writes it.
    mapping: toml::Table,
    /// All of the experiment but its name, as it is read: comments and order change nothing.
    pub(super) written: String,
}

impl Space {
    /// Reads an experiment's space: what its mapper can choose, less what `[mapping]` says. The mapping as written need not be legal.
    pub(super) fn read(path: &Path, settings: &[String]) -> Result<Self, Error> {
        let source = Experiment::source(path)?.with_settings(settings)?;
        let beside = path.exists().then_some(path);
        let (model, generation, machine) = Experiment::parts(&source, beside)?;
        let problem = Problem { model: &model, generation: &generation, machine: &machine, source: &source };
        let mapper = choose(&problem)?;
        let table: toml::Table = source.parse()?;
        let mapping = table.get("mapping").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let (pinned, knobs): (Vec<Knob>, Vec<Knob>) =
            mapper.space(&problem)?.into_iter().partition(|knob| said(&mapping, &knob.key).is_some());
        let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let name = table.get("name").and_then(toml::Value::as_str).map_or(stem, str::to_owned);
        Ok(Self {
            name,
            machine: machine.name.clone(),
            strategy: mapper.name().to_owned(),
            knobs: knobs.into_iter().filter(|k| !k.values.is_empty()).collect(),
            pinned: pinned.into_iter().map(|k| k.key).collect(),
            mapping,
            written: {
                let mut table = table;
                table.remove("name");
                table.to_string()
            },
        })
    }

    /// A plan in the form in which the space has it: what changes nothing is left to the experiment, and what changes something again has the value that
    /// stands where nothing is said, if there is one.
    pub(super) fn complete(&self, mut choice: Choice) -> Choice {
        for (slot, knob) in choice.iter_mut().zip(&self.knobs).filter(|(slot, _)| slot.is_none()) {
            *slot = knob.default;
        }
        self.leave_out(&mut choice);
        choice
    }

    /// Leaves to the experiment what changes nothing beside the other values of a plan.
    fn leave_out(&self, choice: &mut Choice) {
        for (place, knob) in self.knobs.iter().enumerate() {
            let is_inert = knob.inert.iter().any(|all| all.iter().all(|(key, value)| self.has(choice, key, value)));
            if let (true, Some(slot)) = (is_inert, choice.get_mut(place)) {
                *slot = None;
            }
        }
    }

    /// Whether a key has a value in a plan; one that neither the space nor the experiment has counts as having it.
    fn has(&self, choice: &Choice, key: &str, value: &toml::Value) -> bool {
        match self.knobs.iter().zip(choice).find(|(knob, _)| knob.key == key) {
            Some((knob, slot)) => slot.or(knob.default).and_then(|v| knob.values.get(v)) == Some(value),
            None => said(&self.mapping, key).is_none_or(|said| said == value),
        }
    }

    /// The plan that the experiment writes.
    pub(super) fn written(&self) -> Choice {
        let mut choice = self.knobs.iter().map(|k| k.default).collect();
        self.leave_out(&mut choice);
        choice
    }

    /// How many plans there are.
    pub(super) fn plans(bounded: &Bounded) -> f64 {
        let of = |b: &Branch| b.inner.iter().map(|i| i.values.len() as f64).product::<f64>();
        bounded.branches.iter().map(of).sum::<f64>() + bounded.illegal as f64
    }

    /// What a plan sets, by key below `[mapping]`.
    pub(super) fn settings(&self, choice: &Choice) -> BTreeMap<String, String> {
        let of = |(knob, value): (&Knob, &Option<usize>)| Some((knob.key.clone(), inline(knob.values.get((*value)?)?)));
        self.knobs.iter().zip(choice).filter_map(of).collect()
    }

    /// The same as settings of the whole experiment.
    pub(super) fn set(&self, choice: &Choice) -> Vec<String> {
        self.settings(choice).into_iter().map(|(key, value)| format!("mapping.{key}={value}")).collect()
    }

    /// The same as lines of `[mapping]`.
    pub(super) fn mapping(&self, choice: &Choice) -> String {
        let lines = self.settings(choice).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[mapping]\nstrategy = \"{}\"\n{}", self.strategy, lines.collect::<String>())
    }
}

/// A knob of one operator, with the bound of each of its legal values.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) knob: usize,
    pub(super) values: Vec<(usize, Least)>,
}

/// A setting of all knobs that may change anything, and what the others add to it.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) outer: Choice,
    pub(super) base: Least,
    pub(super) inner: Vec<Inner>,
    /// The chains of plans as courses in time, where they are alike.
    pub(super) courses: Option<Courses>,
}

/// The course of a plan, and of those that differ from it in one knob.
#[derive(Debug, Clone)]
pub(super) struct Courses {
    base: Course,
    of: BTreeMap<(usize, usize), Course>,
}

/// A space with its bounds.
#[derive(Debug, Clone)]
pub(super) struct Bounded {
    pub(super) branches: Vec<Branch>,
    /// Settings of the knobs that may change anything that are not legal, whatever the others are.
    pub(super) illegal: u64,
    /// The least power at rest.
    pub(super) idle_w: f64,
    /// Tokens that the experiment generates.
    pub(super) tokens: f64,
    /// Values that are not tried, by the constraint that they break while all else is as it is written.
    pub(super) refused: BTreeMap<String, u64>,
    /// When refresh falls due.
    pub(super) dues: Option<Dues>,
}

/// Programs of a long generation that are bounded: the first of so many equal parts stands for the others, which have longer contexts.
const PARTS: u64 = 4;

impl Bounded {
    pub(super) fn new(path: &Path, settings: &[String], space: &Space) -> Result<Self, Error> {
        let mut tools = Tools::new(path, settings, space)?;
        let outer: Vec<usize> = (0..space.knobs.len()).filter(|k| !tools.is_inner(space, *k)).collect();
        let (mut branches, mut illegal) = (Vec::new(), 0);
        for choice in combinations(space, &outer) {
            match tools.branch(space, choice)? {
                Some(branch) => branches.push(branch),
                None => illegal += 1,
            }
        }
        let idle_w = tools.bounder.as_ref().map_or(0.0, Bounder::idle_w);
        let dues = tools.bounder.as_ref().and_then(Bounder::dues).copied();
        Ok(Self { branches, illegal, idle_w, tokens: tools.tokens, refused: tools.refused, dues })
    }

    /// Whether plans have a bound beyond the sum of their operators'.
    pub(super) fn has_courses(&self) -> bool {
        self.branches.iter().any(|b| b.courses.is_some())
    }

    /// The bound of one plan. Where it leaves a knob to the experiment, the least over what that may be.
    pub(super) fn of(&self, choice: &Choice) -> Option<Least> {
        let fits = |b: &&Branch| b.outer.iter().zip(choice).all(|(own, c)| own.is_none() || c.is_none() || own == c);
        let of = |branch| self.of_branch(branch, choice);
        self.branches.iter().filter(fits).filter_map(of).reduce(Least::lesser)
    }

    /// The bound of every plan in which a knob has a value; none where no plan with it is legal.
    pub(super) fn of_value(&self, knob: usize, value: usize) -> Option<Least> {
        let has = |b: &&Branch| {
            b.outer.get(knob).copied().flatten() == Some(value)
                || b.inner.iter().any(|i| i.knob == knob && i.values.iter().any(|(v, _)| *v == value))
        };
        let of = |branch: &Branch| {
            let mut choice = vec![None; branch.outer.len()];
            *choice.get_mut(knob)? = Some(value);
            self.of_branch(branch, &choice)
        };
        self.branches.iter().filter(has).filter_map(of).reduce(Least::lesser)
    }

    fn of_branch(&self, branch: &Branch, choice: &Choice) -> Option<Least> {
        let chosen = |inner: &Inner| choice.get(inner.knob).copied().flatten();
        let mut sum = branch.base;
        for inner in &branch.inner {
            let may_be = |(v, _): &&(usize, Least)| chosen(inner).is_none_or(|chosen| chosen == *v);
            let least = inner.values.iter().filter(may_be).map(|(_, least)| *least).reduce(Least::lesser)?;
            sum = total([sum, least].iter());
        }
        // A course is of one plan.
        if let Some(courses) = branch.courses.as_ref().filter(|_| branch.inner.iter().all(|i| chosen(i).is_some())) {
            let own = branch.inner.iter().filter_map(|inner| Some((inner.knob, chosen(inner)?)));
            let own: BTreeMap<usize, &Course> = own.filter_map(|key| Some((key.0, courses.of.get(&key)?))).collect();
            sum.seconds = sum.seconds.max(courses.base.seconds(&own, self.dues.as_ref()));
        }
        Some(self.with_idle(sum))
    }

    fn with_idle(&self, least: Least) -> Least {
        Least { seconds: least.seconds, joules: least.joules + self.idle_w * least.seconds }
    }
}

/// Every combination of the values of some knobs.
fn combinations(space: &Space, knobs: &[usize]) -> Vec<Choice> {
    let mut all = vec![vec![None; space.knobs.len()]];
    for knob in knobs {
        let values = space.knobs.get(*knob).map_or(0, |k| k.values.len());
        all = all
            .into_iter()
            .flat_map(|choice| {
                (0..values).map(move |v| {
                    let mut choice = choice.clone();
                    choice[*knob] = Some(v);
                    choice
                })
            })
            .collect();
    }
    // What changes nothing is left as it is.
    for choice in &mut all {
        space.leave_out(choice);
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// What bounds plans.
struct Tools<'a> {
    path: &'a Path,
    settings: &'a [String],
    source: Source,
    model: Model,
    generation: Generation,
    machine: Machine,
    bounder: Option<Bounder>,
    tokens: f64,
    refused: BTreeMap<String, u64>,
}

impl<'a> Tools<'a> {
    fn new(path: &'a Path, settings: &'a [String], space: &Space) -> Result<Self, Error> {
        let source = Experiment::source(path)?.with_settings(settings)?;
        let beside = path.exists().then_some(path);
        let (model, generation, machine) = Experiment::parts(&source, beside)?;
        let per_operator = space.knobs.iter().any(|k| !k.operators.is_empty());
        let bounder = if per_operator && machine.lone_pim_machine().is_some() {
            let still = source.with_settings(&["machine.memory.refresh=false"])?;
            Bounder::new(&machine, &Experiment::parts(&still, beside)?.2)
        } else {
            None
        };
        let tokens = generation.generated_tokens.saturating_mul(generation.batch) as f64;
        Ok(Self { path, settings, source, model, generation, machine, bounder, tokens, refused: BTreeMap::new() })
    }

    fn is_inner(&self, space: &Space, knob: usize) -> bool {
        self.bounder.is_some() && space.knobs.get(knob).is_some_and(|k| !k.operators.is_empty())
    }

    fn experiment(&self, space: &Space, choice: &Choice) -> Result<Experiment, InputError> {
        let settings: Vec<String> = self.settings.iter().cloned().chain(space.set(choice)).collect();
        Experiment::read(self.path, &settings)
    }

    /// The chains of the programs of a plan, by operator, and as a course; of a plan that is not legal, why.
    ///
    /// Layers that are alike take alike: of a model of one kind of layer the chains of one and of two are enough.
    fn chain(&mut self, space: &Space, choice: &Choice) -> Result<Result<(Chain, Option<Course>), InputError>, Error> {
        let source = match self.source.with_settings(&space.set(choice)) {
            Ok(source) => source,
            Err(error) => return Ok(Err(error)),
        };
        let (model, generation, machine) = (self.model.clone(), self.generation.clone(), self.machine.clone());
        let problem = Problem { model: &model, generation: &generation, machine: &machine, source: &source };
        let mapper = choose(&problem)?;
        let whole = match mapper.plan(&problem) {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error)),
        };
        let knob_of = |operator: &str| space.knobs.iter().position(|k| k.operators.iter().any(|o| o == operator));
        // Of a long generation only some programs are bounded, each for others that follow it: when these begin is not known.
        let single = whole.programs() == 1;
        let layers = match model.pattern.as_slice() {
            [alike] if model.encoder.is_none() && alike.layers > 2 => alike.layers,
            _ => return self.of_whole(whole, &knob_of, single),
        };
        let of = |layers: u32| {
            let mut few = model.clone();
            few.pattern.iter_mut().for_each(|p| p.layers = layers);
            mapper.plan(&Problem { model: &few, ..problem })
        };
        let (Ok(one), Ok(two)) = (of(1), of(2)) else { return self.of_whole(whole, &knob_of, single) };
        let (one, two) = (self.chain_of(one, &machine)?, self.chain_of(two, &machine)?);
        let course = if single { Course::of_layers(&one.links, &two.links, layers, &knob_of) } else { None };
        let more = f64::from(layers - 1);
        let with = |name: &String, least: &Least| {
            let first = one.operators.get(name).copied().unwrap_or_default();
            let add = |a: f64, b: f64| a + (b - a) * more;
            (
                name.clone(),
                Least { seconds: add(first.seconds, least.seconds), joules: add(first.joules, least.joules) },
            )
        };
        let operators = two.operators.iter().map(|(name, l)| with(name, l)).collect();
        Ok(Ok((Chain { operators, links: Vec::new() }, course)))
    }

    /// The chain of a plan as it is.
    fn of_whole(
        &mut self,
        plan: Box<dyn Plan>,
        knob_of: &dyn Fn(&str) -> Option<usize>,
        single: bool,
    ) -> Result<Result<(Chain, Option<Course>), InputError>, Error> {
        let machine = self.machine.clone();
        let chain = self.chain_of(plan, &machine)?;
        let course = single.then(|| Course::whole(&chain.links, knob_of));
        Ok(Ok((chain, course)))
    }

    fn chain_of(&mut self, mut plan: Box<dyn Plan>, machine: &Machine) -> Result<Chain, Error> {
        let Some(bounder) = &mut self.bounder else { return Ok(Chain::default()) };
        let mut system = System::new(machine, RunOptions::default());
        let programs = plan.programs();
        let starts: Vec<u64> = match programs {
            0..=PARTS => (0..programs).collect(),
            _ => (0..PARTS).map(|p| programs * p / PARTS).collect(),
        };
        let mut sum = Chain::default();
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(programs);
            let times = (end - start) as f64;
            let chain = bounder.bound(&plan.lower(*start, &mut system)?)?;
            sum.links = chain.links;
            for (name, least) in chain.operators {
                let own = sum.operators.entry(name).or_default();
                own.seconds += least.seconds * times;
                own.joules += least.joules * times;
            }
        }
        Ok(sum)
    }

    /// A setting of the knobs that may change anything, with the bounds of the others; none where it is not legal.
    fn branch(&mut self, space: &Space, outer: Choice) -> Result<Option<Branch>, Error> {
        let inner: Vec<usize> = (0..space.knobs.len()).filter(|k| self.is_inner(space, *k)).collect();
        if inner.is_empty() {
            return Ok(match self.of_plan(space, &outer)? {
                Ok(base) => Some(Branch { outer, base, inner: Vec::new(), courses: None }),
                Err(error) => {
                    *self.refused.entry(reason(&error)).or_insert(0) += 1;
                    None
                }
            });
        }
        // Each value by itself, the others as they are written; where nothing is legal so, beside others with which something is.
        let aside = self.legal_beside(space, &outer, &inner);
        let mut base: Option<Chain> = None;
        let mut found: HashMap<(usize, usize), Chain> = HashMap::new();
        let mut courses: Option<Courses> = None;
        let mut alike = true;
        for knob in &inner {
            for value in 0..space.knobs.get(*knob).map_or(0, |k| k.values.len()) {
                let mut choice = aside.clone();
                choice[*knob] = Some(value);
                // A value that is not legal while the others are so is not tried.
                match self.chain(space, &choice)? {
                    Ok((chain, course)) => {
                        found.insert((*knob, value), chain.clone());
                        base.get_or_insert(chain);
                        match course {
                            Some(course) => {
                                let all = courses
                                    .get_or_insert_with(|| Courses { base: course.clone(), of: BTreeMap::new() });
                                alike &= all.base.is_like(&course);
                                all.of.insert((*knob, value), course);
                            }
                            None => alike = false,
                        }
                    }
                    Err(error) => *self.refused.entry(reason(&error)).or_insert(0) += 1,
                }
            }
        }
        let base = base.unwrap_or_default();
        let own: Vec<(usize, &[String])> =
            inner.iter().filter_map(|k| Some((*k, space.knobs.get(*k)?.operators.as_slice()))).collect();
        let rest =
            total(base.operators.iter().filter(|(n, _)| !own.iter().any(|(_, of)| of.contains(n))).map(|(_, l)| l));
        let of_knob = |(knob, names): &(usize, &[String])| {
            let values = (0..space.knobs.get(*knob).map_or(0, |k| k.values.len())).filter_map(|value| {
                let chain = found.get(&(*knob, value))?;
                Some((value, total(names.iter().filter_map(|n| chain.operators.get(n)))))
            });
            Inner { knob: *knob, values: values.collect() }
        };
        let inner = own.iter().map(of_knob).collect();
        Ok(Some(Branch { outer, base: rest, inner, courses: courses.filter(|_| alike) }))
    }

    /// A setting with values of its inner knobs beside which something is legal: as the experiment writes them, or of equal place in the lists of
    /// all. As written where none is found.
    fn legal_beside(&self, space: &Space, outer: &Choice, inner: &[usize]) -> Choice {
        let of = |knob: usize| space.knobs.get(knob).map_or(0, |k| k.values.len());
        let is_legal = |choice: &Choice| {
            let Ok(source) = self.source.with_settings(&space.set(choice)) else { return false };
            let problem =
                Problem { model: &self.model, generation: &self.generation, machine: &self.machine, source: &source };
            choose(&problem).is_ok_and(|mapper| mapper.plan(&problem).is_ok())
        };
        let most = inner.iter().map(|k| of(*k)).max().unwrap_or(0);
        // Packed layouts stand last in their lists.
        let all = |place: usize| {
            let mut choice = outer.clone();
            inner.iter().for_each(|k| choice[*k] = of(*k).checked_sub(1).map(|last| last.saturating_sub(place)));
            choice
        };
        let tried = std::iter::once(outer.clone()).chain((0..most).map(all));
        tried.into_iter().find(is_legal).unwrap_or_else(|| outer.clone())
    }

    /// The mapper's own bound of a plan, and what the machine draws at the least meanwhile; of one that is not legal, why.
    fn of_plan(&self, space: &Space, choice: &Choice) -> Result<Result<Least, InputError>, Error> {
        let experiment = match self.experiment(space, choice) {
            Ok(experiment) => experiment,
            Err(error) => return Ok(Err(error)),
        };
        // Requests come and go: what a server takes for them is not the time of a step of its plan.
        if experiment.serving.is_some() {
            return Ok(Ok(Least::default()));
        }
        let programs = experiment.plan.programs();
        let each: Vec<f64> = (0..programs).into_par_iter().map(|i| experiment.plan.bound(i).seconds()).collect();
        let seconds: f64 = each.iter().sum();
        // GPUs draw this whatever else they do, until the end of the step.
        let of_device = |(_, device): &(String, Device)| match device {
            Device::Gpu(spec) => spec.power.active_idle_w,
            Device::Pim(_) => 0.0,
        };
        let idle_w: f64 = self.machine.devices.iter().map(of_device).sum();
        Ok(Ok(Least { seconds, joules: idle_w * seconds }))
    }
}

/// The sum.
fn total<'a>(parts: impl Iterator<Item = &'a Least>) -> Least {
    parts.fold(Least::default(), |sum, l| Least { seconds: sum.seconds + l.seconds, joules: sum.joules + l.joules })
}

/// The constraint that a plan breaks: the key and what is wrong with it.
pub(super) fn reason(error: &InputError) -> String {
    let key = error.key.as_deref().unwrap_or_default();
    if key.is_empty() { error.problem.clone() } else { format!("`{key}` {}", error.problem) }
}
