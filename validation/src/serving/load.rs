//! A server with a load that is kept: so many requests are always in flight, each answered by the next one.
//!
//! Steps follow each other at once: engines go on before an answer has reached its client and the next prompt is split into tokens. Prompts pass the way
//! there one after the other. So of those that answers of one step call forth, the first reaches the engine during the next step, and the others
//! during the one after; of those that come to an idle engine, the first enters alone.

use std::collections::VecDeque;

/// Most steps with prompts, and stretches of steps without: far above those of a published load.
const MOST_STRETCHES: u32 = 1 << 20;

/// Lengths of a request: tokens of its prompt and of its answer.
pub(super) type Lengths = (u64, u64);

/// How an engine forms steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Engine {
    /// Most tokens that enter in a step.
    pub(super) budget: u64,
    /// A prompt that does not fit in what is left of the budget enters in part.
    pub(super) chunked: bool,
    /// Prompts enter beside the tokens of sequences that decode; else in steps of their own, before those.
    pub(super) mixed: bool,
    /// A request is let in when its whole length has room in the cache; else when its prompt has, and the last one in leaves where room ends.
    pub(super) reserves: bool,
    /// Tokens that the cache has room for.
    pub(super) room: u64,
    /// While sequences decode, prompts wait until so many tokens enter at once, or for so many steps. (0, 0) for no such wait.
    pub(super) hold: (u64, u64),
}

/// Tokens of prompts that enter in a step, and sequences that decode.
pub(super) type Composition = (u64, u64);

#[derive(Debug, Clone)]
struct Request {
    sent: f64,
    first: Option<f64>,
    lengths: Lengths,
    /// Tokens of the prompt, and of the answer if it was put out, that have yet to enter.
    to_enter: u64,
    /// Tokens that have yet to come out.
    to_come: u64,
    admitted: bool,
}

impl Request {
    const fn new(lengths: Lengths, sent: f64) -> Self {
        Self { sent, first: None, lengths, to_enter: lengths.0, to_come: lengths.1, admitted: false }
    }

    /// Tokens in the cache once it is in.
    const fn held(&self) -> u64 {
        self.lengths.0 + (self.lengths.1 - self.to_come)
    }
}

/// Seconds to the first token and between tokens, in the mean over requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Served {
    pub(super) first_s: f64,
    pub(super) token_s: f64,
}

struct Server<'a> {
    engine: Engine,
    to_send: std::slice::Iter<'a, Lengths>,
    now: f64,
    used: u64,
    held_steps: u64,
    /// Sent at the end of the last step.
    sent: Vec<Request>,
    /// Behind the first of those that were sent before.
    arriving: Vec<Request>,
    waiting: VecDeque<Request>,
    running: Vec<Request>,
    sums: (f64, f64),
    done: (u32, u32),
}

impl Server<'_> {
    const fn claim(&self, request: &Request) -> u64 {
        if self.engine.reserves { request.lengths.0 + request.lengths.1 } else { request.held() }
    }

    /// Whether prompts wait for others.
    fn holds(&self) -> bool {
        let (tokens, steps) = self.engine.hold;
        let entering = self.waiting.iter().fold(self.running.len() as u64, |sum, r| sum.saturating_add(r.to_enter));
        !self.running.is_empty() && !self.waiting.is_empty() && self.held_steps < steps && entering < tokens
    }

    /// Prompts that enter the next step: their tokens, and those that are then complete.
    fn admit(&mut self) -> (u64, Vec<Request>) {
        let beside = if self.engine.mixed { self.running.len() as u64 } else { 0 };
        let mut left = self.engine.budget.saturating_sub(beside);
        let (mut entered, mut complete) = (0, Vec::new());
        if self.holds() {
            return (entered, complete);
        }
        while let Some(front) = self.waiting.front() {
            let claim = self.claim(front);
            if !front.admitted && self.used + claim > self.engine.room {
                break;
            }
            let whole = front.to_enter;
            let takes = match (self.engine.chunked, whole <= left) {
                (_, true) => whole,
                (true, false) => left,
                // A prompt above the budget would never enter.
                (false, false) if entered == 0 && beside == 0 => whole,
                (false, false) => 0,
            };
            if takes == 0 {
                break;
            }
            let Some(mut request) = self.waiting.pop_front() else { break };
            if !request.admitted {
                self.used += claim;
                request.admitted = true;
            }
            request.to_enter -= takes;
            entered += takes;
            left = left.saturating_sub(takes);
            if request.to_enter > 0 {
                self.waiting.push_front(request);
                break;
            }
            complete.push(request);
        }
        (entered, complete)
    }

    /// Prompts that were on the way reach the engine.
    fn arrive(&mut self) {
        self.waiting.extend(self.arriving.drain(..));
        let mut sent = std::mem::take(&mut self.sent).into_iter();
        self.waiting.extend(sent.next());
        self.arriving.extend(sent);
    }

    fn is_quiet(&self) -> bool {
        self.sent.is_empty() && self.arriving.is_empty()
    }

    /// Tokens of sequences that decode have come out, so many of each; `complete` have their first.
    fn after(&mut self, tokens: u64, complete: Vec<Request>) {
        self.arrive();
        for request in &mut self.running {
            request.to_come -= tokens;
        }
        if !self.engine.reserves {
            self.used += tokens * self.running.len() as u64 + complete.len() as u64;
        }
        for mut request in complete {
            request.first.get_or_insert(self.now);
            request.to_come -= 1;
            self.running.push(request);
        }
        let all = std::mem::take(&mut self.running);
        let (ended, running): (Vec<Request>, Vec<Request>) = all.into_iter().partition(|r| r.to_come == 0);
        self.running = running;
        for request in ended {
            self.used = self.used.saturating_sub(self.claim(&request));
            let first = request.first.unwrap_or(self.now);
            self.sums.0 += first - request.sent;
            self.done.0 += 1;
            if request.lengths.1 > 1 {
                self.sums.1 += (self.now - first) / (request.lengths.1 - 1) as f64;
                self.done.1 += 1;
            }
            self.sent.extend(self.to_send.next().map(|lengths| Request::new(*lengths, self.now)));
        }
    }

    /// The last sequence that came in gives its room up, and begins again.
    fn put_out(&mut self) {
        if let Some(mut last) = self.running.pop() {
            self.used = self.used.saturating_sub(self.claim(&last));
            last.to_enter = last.held();
            last.admitted = false;
            // Behind a prompt that has entered in part.
            let at = usize::from(self.waiting.front().is_some_and(|r| r.admitted));
            self.waiting.insert(at, last);
        }
    }
}

/// Serves requests, so many at once; `cost` gives the seconds of a step.
///
/// # Errors
/// A request has no room, or the load takes too many steps; or those of `cost`.
pub(super) fn serve(
    requests: &[Lengths],
    at_once: usize,
    engine: Engine,
    cost: &mut dyn FnMut(Composition) -> Result<f64, String>,
) -> Result<Served, String> {
    if let Some(longest) = requests.iter().map(|r| r.0 + r.1).max().filter(|longest| *longest > engine.room) {
        return Err(format!("a request of {longest} tokens has no room: the cache has {}", engine.room));
    }
    let mut s = Server {
        engine,
        to_send: requests.iter(),
        now: 0.0,
        used: 0,
        held_steps: 0,
        sent: Vec::new(),
        arriving: Vec::new(),
        waiting: VecDeque::new(),
        running: Vec::new(),
        sums: (0.0, 0.0),
        done: (0, 0),
    };
    s.sent = s.to_send.by_ref().take(at_once).map(|lengths| Request::new(*lengths, 0.0)).collect();
    s.arrive();
    for _ in 0..MOST_STRETCHES {
        let (entered, complete) = s.admit();
        let decodes = s.running.len() as u64;
        if entered > 0 {
            let tokens = u64::from(engine.mixed && decodes > 0);
            s.held_steps = 0;
            s.now += cost((entered, if engine.mixed { decodes } else { 0 }))?;
            s.after(tokens, complete);
        } else if let Some(each) = engine.room.saturating_sub(s.used).checked_div(decodes) {
            let fits = if engine.reserves { u64::MAX } else { each };
            if fits == 0 {
                s.put_out();
                continue;
            }
            let shortest = s.running.iter().map(|r| r.to_come).min().unwrap_or(1);
            let held = s.holds();
            s.held_steps += u64::from(held);
            let tokens = if s.is_quiet() && !held { shortest.min(fits) } else { 1 };
            s.now += cost((0, decodes))? * tokens as f64;
            s.after(tokens, complete);
        } else if s.is_quiet() {
            if s.done.0 == 0 || !s.waiting.is_empty() {
                return Err("a prompt finds no room".into());
            }
            let (first, token) = (s.sums.0 / f64::from(s.done.0), s.sums.1 / f64::from(s.done.1.max(1)));
            return Ok(Served { first_s: first, token_s: token });
        } else {
            s.arrive();
        }
    }
    Err(format!("the load takes more than {MOST_STRETCHES} steps"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WHOLE: Engine =
        Engine { budget: 8192, chunked: false, mixed: true, reserves: true, room: u64::MAX / 2, hold: (0, 0) };

    /// A step takes 1 s, and 1 s more for each thousand tokens of prompts.
    fn cost((entered, _): Composition) -> Result<f64, String> {
        Ok(1.0 + entered as f64 / 1000.0)
    }

    #[test]
    fn one_request_is_its_prompt_and_its_steps() {
        let served = serve(&[(1000, 11)], 1, WHOLE, &mut cost).unwrap();
        assert_eq!(served, Served { first_s: 2.0, token_s: 1.0 });
    }

    #[test]
    fn prompts_wait_for_each_other_and_delay_those_that_decode() {
        // Two prompts of 5000: the second has no room in the budget of the first step, and enters beside the first one's second token.
        let served = serve(&[(5000, 11), (5000, 11)], 2, WHOLE, &mut cost).unwrap();
        assert!((served.first_s - (6.0 + 12.0) / 2.0).abs() < 1e-9, "{served:?}");
        assert!((served.token_s - (15.0 / 10.0 + 1.0) / 2.0).abs() < 1e-9, "{served:?}");
        // In chunks the rest of a prompt above the budget enters beside the second: 8192 tokens, then 5808.
        let chunks = serve(&[(9000, 11), (5000, 11)], 2, Engine { chunked: true, ..WHOLE }, &mut cost).unwrap();
        assert!((chunks.first_s - 16.0).abs() < 1e-9 && (chunks.token_s - 1.0).abs() < 1e-9, "{chunks:?}");
        // In steps of their own, the first waits while the second enters.
        let own = serve(&[(5000, 11), (5000, 11)], 2, Engine { mixed: false, ..WHOLE }, &mut cost).unwrap();
        assert!((own.token_s - (16.0 / 10.0 + 1.0) / 2.0).abs() < 1e-9, "{own:?}");
    }

    #[test]
    fn prompts_that_arrive_together_enter_together_but_for_the_first() {
        let mut steps = Vec::new();
        let mut noted = |step| {
            steps.push(step);
            cost(step)
        };
        serve(&[(1000, 3); 4], 4, WHOLE, &mut noted).unwrap();
        assert_eq!(steps, [(1000, 0), (3000, 1), (0, 4), (0, 3)]);
        // Prompts wait for others for two steps, and enter in the third.
        steps.clear();
        let waits = Engine { hold: (8000, 2), ..WHOLE };
        serve(&[(1000, 9); 2], 2, waits, &mut |step| {
            steps.push(step);
            cost(step)
        })
        .unwrap();
        assert_eq!(steps[..5], [(1000, 0), (0, 1), (0, 1), (1000, 1), (0, 2)]);
    }

    #[test]
    fn a_request_without_room_waits_for_one_that_ends() {
        let narrow = Engine { room: 1500, ..WHOLE };
        let served = serve(&[(1000, 11), (1000, 11)], 2, narrow, &mut cost).unwrap();
        // 2 s and ten steps of the other, then its own 2 s.
        assert!((served.first_s - (2.0 + 14.0) / 2.0).abs() < 1e-9, "{served:?}");
        assert!(serve(&[(1500, 11)], 1, narrow, &mut cost).unwrap_err().contains("1511"));
    }

    #[test]
    fn who_came_last_leaves_where_room_ends_and_enters_again() {
        let narrow = Engine { room: 2012, reserves: false, ..WHOLE };
        let mut entered = 0;
        let served = serve(&[(1000, 100), (1000, 100)], 2, narrow, &mut |step| {
            entered += step.0;
            cost(step)
        });
        assert!(served.is_ok() && entered > 3000, "{entered}: {served:?}");
    }

    #[test]
    fn a_client_that_is_answered_sends_the_next_request() {
        let requests = [(1000, 2); 10];
        let served = serve(&requests, 1, WHOLE, &mut cost).unwrap();
        assert_eq!(served, Served { first_s: 2.0, token_s: 1.0 });
    }
}
