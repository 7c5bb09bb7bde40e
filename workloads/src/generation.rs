//! How a model is used: what is cached already, a prompt, then tokens one by one.

use banksia_input::{InputError, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::key::path;
use crate::model::Model;

/// Longest prompt or generation: far above any model's limit, and low enough that positions never overflow.
const MAX_TOKENS: i64 = 1 << 30;
/// Most sequences at once.
const MAX_BATCH: i64 = 1 << 20;

/// Which part of a generation a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The whole prompt at once, over what is cached already; gives the first generated token.
    Prefill,
    /// One token in, the next token out.
    Decode,
}

/// Sequences that are alike in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// How many.
    pub sequences: u64,
    /// Tokens of each that enter: the prompt or a chunk of it, 1 in decode, some in the verification of a draft.
    pub new: u64,
    /// Tokens of each that are in the cache before, or have passed through its state.
    #[serde(default)]
    pub past: u64,
}

impl Run {
    /// Tokens in the cache once the step has written its own.
    pub const fn context(&self) -> u64 {
        self.past.saturating_add(self.new)
    }

    /// Tokens that enter, of all its sequences.
    pub const fn tokens(&self) -> u64 {
        self.sequences.saturating_mul(self.new)
    }
}

/// One pass through the model: prompts, chunks of prompts, single tokens, drafts, or several of these at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Prefill where most that enters is of prompts, else decode.
    pub phase: Phase,
    /// Its sequences, by how many tokens of each enter and are there.
    pub runs: Vec<Run>,
    /// A token of each sequence comes out; not so of a chunk of a prompt that others follow.
    pub head: bool,
}

impl Step {
    /// A step of sequences that are all alike.
    pub fn uniform(phase: Phase, sequences: u64, new: u64, past: u64) -> Self {
        Self { phase, runs: vec![Run { sequences, new, past }], head: true }
    }

    /// A step of one token of each sequence, which makes the context so long.
    pub fn decode(sequences: u64, context: u64) -> Self {
        Self::uniform(Phase::Decode, sequences, 1, context.saturating_sub(1))
    }

    /// A whole prompt of each sequence.
    pub fn prefill(sequences: u64, tokens: u64) -> Self {
        Self::uniform(Phase::Prefill, sequences, tokens, 0)
    }

    /// Tokens of a sequence that enter, at most.
    pub fn tokens(&self) -> u64 {
        self.runs.iter().map(|r| r.new).max().unwrap_or(0)
    }

    /// The longest context once the step has written its own tokens.
    pub fn context(&self) -> u64 {
        self.runs.iter().map(Run::context).max().unwrap_or(0)
    }

    /// Sequences.
    pub fn sequences(&self) -> u64 {
        self.runs.iter().fold(0, |sum, r| sum.saturating_add(r.sequences))
    }

    /// Tokens that enter, of all sequences.
    pub fn all_tokens(&self) -> u64 {
        self.runs.iter().fold(0, |sum, r| sum.saturating_add(r.tokens()))
    }
}

/// A generation: every sequence of a batch has the same prompt and output length.
///
/// Step 1 is the prompt of `prompt_tokens` (context `prompt_tokens`) and gives the first generated token; every further
/// token is a decode step whose context is one longer. So there are `generated_tokens` steps: 1024 tokens from a prompt
/// of 1 are 1024 steps, of contexts 1 to 1024. The last token generated is never fed back, so the cache ends at
/// `prompt_tokens + generated_tokens - 1`.
///
/// Sequences may start with `context_tokens` in the cache, whose computation is not part of the generation (an earlier
/// turn, a cached prefix, another machine's prefill): every context is then longer by as many. With such a cache the prompt
/// may be empty: there is no prefill, and step 1 is a decode step too, which feeds back the last token of before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Tokens of each sequence that are in the cache before the first step. Default 0.
    pub context_tokens: u64,
    /// Tokens of the prompt; at least 1, or with `context_tokens` also 0.
    pub prompt_tokens: u64,
    /// Tokens generated; at least 1.
    pub generated_tokens: u64,
    /// Sequences generated together. Default 1.
    pub batch: u64,
    /// Whether the vocabulary projection and the choice of the token run in every step. Default yes: without them no token
    /// comes out. It runs for the last token of each sequence only. *Where* it runs is the mapper's matter.
    pub lm_head: bool,
    /// Whether the look-up of the token (and learned position) embedding runs. Default yes. Without it the hidden state
    /// enters from outside.
    pub embedding: bool,
    /// Accept contexts beyond the model's `max_positions` (a learned table has no such rows, but the cost is defined).
    /// Default no.
    pub ignore_position_limit: bool,
    /// Most tokens of a prompt that enter at once: prompts are processed in chunks. 0 for whole prompts.
    pub chunk_tokens: u64,
    /// Tokens of a draft that every decode step verifies beside its own: it takes as many more. 0 for none. What makes the draft is another model's
    /// matter, and not in the time.
    pub draft_tokens: u64,
    /// Tokens that a verifying step gives on average, in thousandths: its own, and those of the draft that are accepted.
    pub accepted_per_1000: u64,
    /// One step of sequences of different lengths, in place of all that: prompts, chunks and single tokens at once.
    pub runs: Vec<Run>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            context_tokens: 0,
            prompt_tokens: 1,
            generated_tokens: 1,
            batch: 1,
            lm_head: true,
            embedding: true,
            ignore_position_limit: false,
            chunk_tokens: 0,
            draft_tokens: 0,
            accepted_per_1000: 1000,
            runs: Vec::new(),
        }
    }
}

/// How a model is used: `prompt_tokens` and `generated_tokens`, or `runs` for one step of different sequences.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["prompt_tokens", "generated_tokens"] }, { "required": ["runs"] }]))]
pub struct GenerationFile {
    /// Tokens of each sequence that are in the cache before the first step, whose computation is not part of the run.
    #[serde(default)]
    #[schemars(range(min = 0))]
    context_tokens: i64,
    /// Tokens of each sequence's prompt; 0 only with `context_tokens`. Required without `runs`.
    #[schemars(range(min = 0))]
    prompt_tokens: Option<i64>,
    /// Tokens of each sequence that are generated; the prompt gives the first. Required without `runs`.
    #[schemars(range(min = 1))]
    generated_tokens: Option<i64>,
    /// Sequences that run together from the first step to the last.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    batch: i64,
    /// Most tokens of a prompt that enter at once, each chunk over what has been processed before; 0 for whole prompts.
    #[serde(default)]
    #[schemars(range(min = 0))]
    chunk_tokens: i64,
    /// Tokens of a draft that every decode step verifies beside its own; 0 for none. What makes the draft is not in the time.
    #[serde(default)]
    #[schemars(range(min = 0))]
    draft_tokens: i64,
    /// Tokens that a verifying step gives on average, from 1 to `draft_tokens + 1`, which it is where absent.
    #[schemars(range(min = 1))]
    accepted_tokens: Option<f64>,
    /// One step of sequences of different lengths, in place of the other counts.
    #[serde(default)]
    runs: Vec<Run>,
    /// The vocabulary projection and the choice of the token run in every step, for the last token of each sequence.
    #[serde(default = "yes")]
    lm_head: bool,
    /// The look-up of the token (and learned position) embedding runs; without it the hidden state comes from outside.
    #[serde(default = "yes")]
    embedding: bool,
    /// Accept contexts beyond the model's `max_positions`.
    #[serde(default)]
    ignore_position_limit: bool,
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}

impl GenerationFile {
    /// The generation that the table at `table` of `source` (`""` for the whole file) describes, checked against the model
    /// that it uses.
    ///
    /// # Errors
    /// A count is negative, zero where something must be, or absurd; or the generation is longer than the model's positions.
    pub fn resolve(&self, source: &Source, table: &str, model: &Model) -> Result<Generation, InputError> {
        let count = |key: &str, value: i64, least: i64, most: i64| {
            source.check(&path(table, key), value, least..=most).map(i64::unsigned_abs)
        };
        if !self.runs.is_empty() {
            return self.resolve_runs(source, table, model);
        }
        let required = |key: &str, value: Option<i64>| {
            value.ok_or_else(|| {
                let mut error = source.error(&path(table, key), "is missing");
                // Where the table begins; of a whole file, its first line.
                error.line = error.line.or_else(|| source.error(table, "").line).or(Some(1));
                error.help("a generation needs prompt_tokens and generated_tokens, or runs for one step of different sequences")
            })
        };
        let prompt_tokens = required("prompt_tokens", self.prompt_tokens)?;
        let generated_tokens = required("generated_tokens", self.generated_tokens)?;
        let context_tokens = count("context_tokens", self.context_tokens, 0, MAX_TOKENS)?;
        let draft_tokens = count("draft_tokens", self.draft_tokens, 0, 1 << 10)?;
        let accepted = self.accepted_tokens.unwrap_or((draft_tokens + 1) as f64);
        if !(1.0..=(draft_tokens + 1) as f64).contains(&accepted) {
            let problem = format!("is {accepted}: must be from 1 to draft_tokens + 1 = {}", draft_tokens + 1);
            return Err(source.error(&path(table, "accepted_tokens"), problem));
        }
        let generation = Generation {
            context_tokens,
            prompt_tokens: count("prompt_tokens", prompt_tokens, least_prompt(context_tokens) as i64, MAX_TOKENS)
                .map_err(|error| explain_empty_prompt(error, prompt_tokens == 0))?,
            generated_tokens: count("generated_tokens", generated_tokens, 1, MAX_TOKENS)?,
            chunk_tokens: count("chunk_tokens", self.chunk_tokens, 0, MAX_TOKENS)?,
            draft_tokens,
            accepted_per_1000: (accepted * 1000.0).round() as u64,
            runs: Vec::new(),
            batch: count("batch", self.batch, 1, MAX_BATCH)?,
            lm_head: self.lm_head,
            embedding: self.embedding,
            ignore_position_limit: self.ignore_position_limit,
        };
        generation.check(model, source, table)?;
        Ok(generation)
    }
}

impl GenerationFile {
    /// One step of runs.
    fn resolve_runs(&self, source: &Source, table: &str, model: &Model) -> Result<Generation, InputError> {
        let given = [
            ("prompt_tokens", self.prompt_tokens.is_some()),
            ("context_tokens", self.context_tokens != 0),
            ("batch", self.batch != 1),
            ("chunk_tokens", self.chunk_tokens != 0),
            ("draft_tokens", self.draft_tokens != 0),
            ("generated_tokens", self.generated_tokens.is_some_and(|n| n != 1)),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            let error =
                source.error(&path(table, key), "is given beside runs, which say it for each of their sequences");
            return Err(error.help("leave it out: runs are one step"));
        }
        let most = MAX_TOKENS.unsigned_abs();
        for (i, run) in self.runs.iter().enumerate() {
            let at = |key: &str| path(table, &format!("runs.{i}.{key}"));
            source.check(&at("sequences"), run.sequences, 1..=MAX_BATCH.unsigned_abs())?;
            source.check(&at("new"), run.new, 1..=most)?;
            source.check(&at("past"), run.past, 0..=most)?;
        }
        let generation = Generation {
            prompt_tokens: self.runs.iter().map(|r| r.new).max().unwrap_or(1),
            batch: self.runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.sequences)),
            lm_head: self.lm_head,
            embedding: self.embedding,
            ignore_position_limit: self.ignore_position_limit,
            runs: self.runs.clone(),
            ..Generation::default()
        };
        generation.check(model, source, table)?;
        Ok(generation)
    }
}

/// The shortest prompt: something must enter, and it can be fed back only where something is cached.
fn least_prompt(context_tokens: u64) -> u64 {
    u64::from(context_tokens == 0)
}

fn explain_empty_prompt(error: InputError, empty: bool) -> InputError {
    if !empty {
        return error;
    }
    error.help("to start with tokens in the cache and no prompt, give context_tokens")
}

impl Generation {
    /// Passes of single tokens where a prompt is fed token by token: one for each that goes through the model.
    pub fn token_passes(&self) -> u64 {
        self.last_context() - self.context_tokens
    }

    /// Of these the pass, from 0, that gives the generated token of a number from 1.
    pub fn pass_of_token(&self, token: u64) -> u64 {
        self.prompt_tokens.saturating_sub(1).saturating_add(token.saturating_sub(1))
    }

    /// Checks the generation against a model; errors name the keys under `table` of `source`.
    ///
    /// # Errors
    /// A count is zero or absurd, the cache would grow beyond `max_positions`, or an operator's counts would exceed 64 bits.
    pub fn check(&self, model: &Model, source: &Source, table: &str) -> Result<(), InputError> {
        let most = MAX_TOKENS.unsigned_abs();
        source.check(&path(table, "context_tokens"), self.context_tokens, 0..=most)?;
        source
            .check(&path(table, "prompt_tokens"), self.prompt_tokens, least_prompt(self.context_tokens)..=most)
            .map_err(|error| explain_empty_prompt(error, self.prompt_tokens == 0))?;
        source.check(&path(table, "generated_tokens"), self.generated_tokens, 1..=most)?;
        source.check(&path(table, "batch"), self.batch, 1..=MAX_BATCH.unsigned_abs())?;
        self.check_positions(model, source, table)?;
        for step in [self.step(0), self.step(self.steps_in_all().saturating_sub(1))].into_iter().flatten() {
            let graph = model.graph(&step, self);
            if let Some((node, _)) = graph.operators().find(|(node, _)| !node.is_countable()) {
                let problem = format!(
                    "makes the operator `{}` of a step of {} tokens at context {} exceed 64-bit counts",
                    node.label,
                    step.tokens(),
                    step.context()
                );
                let help = "use a smaller batch or fewer tokens";
                return Err(source.error(&path(table, "batch"), problem).help(help));
            }
        }
        Ok(())
    }

    /// The longest context must have a position, unless that is to be ignored.
    fn check_positions(&self, model: &Model, source: &Source, table: &str) -> Result<(), InputError> {
        let limit = model.max_positions;
        let (context, prompt, last) = (self.context_tokens, self.prompt_tokens, self.last_context());
        if last <= limit || self.ignore_position_limit {
            return Ok(());
        }
        let before = context.saturating_add(prompt);
        let (key, most) = if context >= limit {
            ("context_tokens", limit.saturating_sub(prompt.max(1)))
        } else if before > limit {
            ("prompt_tokens", limit - context)
        } else {
            ("generated_tokens", (limit + 1).saturating_sub(self.first_context()))
        };
        let cached = if context > 0 { format!("{context} in the cache before, ") } else { String::new() };
        let problem = format!(
            "gives a context of {last} tokens ({cached}{prompt} of the prompt and {} fed back), but `{}` has {limit} positions",
            last.saturating_sub(before),
            model.name
        );
        let help = format!("use at most {most}, or set ignore_position_limit = true");
        Err(source.error(&path(table, key), problem).help(help))
    }

    /// Tokens in the cache after the first step: those of before, and the prompt or the token that is fed back.
    pub fn first_context(&self) -> u64 {
        self.context_tokens.saturating_add(self.prompt_tokens.max(1))
    }

    /// Tokens in the cache after the last step.
    pub fn last_context(&self) -> u64 {
        if !self.runs.is_empty() {
            return self.runs.iter().map(Run::context).max().unwrap_or(0);
        }
        let drafted = if self.decode_steps() > 0 { self.draft_tokens } else { 0 };
        self.first_context().saturating_add(self.generated_tokens.saturating_sub(1)).saturating_add(drafted)
    }

    /// Whether it is whole prompts, then tokens one by one, of sequences that are all alike.
    pub fn is_plain(&self) -> bool {
        self.runs.is_empty()
            && self.draft_tokens == 0
            && (self.chunk_tokens == 0 || self.chunk_tokens >= self.prompt_tokens)
    }

    /// Sequences by how many tokens each has in the cache at the end.
    pub fn cached(&self) -> Vec<(u64, u64)> {
        if self.runs.is_empty() {
            return vec![(self.batch, self.last_context())];
        }
        self.runs.iter().map(|r| (r.sequences, r.context())).collect()
    }

    /// Steps that process the prompt.
    fn prompt_steps(&self) -> u64 {
        match self.chunk_tokens {
            _ if self.prompt_tokens == 0 => 0,
            0 => 1,
            chunk => self.prompt_tokens.div_ceil(chunk),
        }
    }

    /// Steps after the prompt: one a token, or one for as many as a verified draft gives.
    fn decode_steps(&self) -> u64 {
        let left = self.generated_tokens.saturating_sub(u64::from(self.prompt_tokens > 0));
        match self.draft_tokens {
            0 => left,
            _ => left.saturating_mul(1000).div_ceil(self.accepted_per_1000.max(1000)),
        }
    }

    /// Steps in all.
    pub fn steps_in_all(&self) -> u64 {
        if self.runs.is_empty() { self.prompt_steps().saturating_add(self.decode_steps()) } else { 1 }
    }

    /// The step, from 0, that gives the generated token of a number from 1.
    pub fn step_of(&self, token: u64) -> u64 {
        let last = self.steps_in_all().saturating_sub(1);
        let after = match self.prompt_steps() {
            0 => token.saturating_sub(1),
            prompt if token <= 1 => return prompt - 1,
            prompt => {
                let decoded = token - 2;
                let steps = match self.draft_tokens {
                    0 => decoded,
                    _ => decoded.saturating_mul(1000) / self.accepted_per_1000.max(1000),
                };
                return prompt.saturating_add(steps).min(last);
            }
        };
        match self.draft_tokens {
            0 => after.min(last),
            _ => (after.saturating_mul(1000) / self.accepted_per_1000.max(1000)).min(last),
        }
    }

    /// The step of an index from 0; `None` after the last.
    pub fn step(&self, index: u64) -> Option<Step> {
        if !self.runs.is_empty() {
            let prompts: u64 = self.runs.iter().filter(|r| r.new > 1).map(Run::tokens).sum();
            let all: u64 = self.runs.iter().map(Run::tokens).sum();
            let phase = if prompts * 2 > all { Phase::Prefill } else { Phase::Decode };
            return (index == 0).then(|| Step { phase, runs: self.runs.clone(), head: true });
        }
        if index >= self.steps_in_all() {
            return None;
        }
        let prompt_steps = self.prompt_steps();
        if index < prompt_steps {
            let chunk = if self.chunk_tokens == 0 { self.prompt_tokens } else { self.chunk_tokens };
            let done = index.saturating_mul(chunk);
            let new = chunk.min(self.prompt_tokens.saturating_sub(done));
            let past = self.context_tokens.saturating_add(done);
            let step = Step::uniform(Phase::Prefill, self.batch, new, past);
            return Some(Step { head: index + 1 == prompt_steps, ..step });
        }
        let decoded = index - prompt_steps;
        let given = match self.draft_tokens {
            0 => decoded,
            _ => decoded.saturating_mul(self.accepted_per_1000) / 1000,
        };
        // The token that is fed back enters with its draft behind it.
        let past = match prompt_steps {
            0 => self.first_context().saturating_sub(1),
            _ => self.first_context(),
        };
        Some(Step::uniform(Phase::Decode, self.batch, self.draft_tokens.saturating_add(1), past.saturating_add(given)))
    }

    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = Step> + use<> {
        let this = self.clone();
        (0..self.steps_in_all()).filter_map(move |index| this.step(index))
    }
}
