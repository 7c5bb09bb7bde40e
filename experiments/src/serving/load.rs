//! A server under a load: a load that is kept, of so many requests that are always in flight, each answered by the next one; or one that arrives when it will.
//!
//! Under a load that is kept, steps follow each other at once: engines go on before an answer has reached its client and the next prompt is split into tokens. Prompts pass the way
//! there one after the other. So of those that answers of one step call forth, the first reaches the engine during the next step, and the others
//! during the one after; of those that come to an idle engine, the first enters alone.

use std::collections::VecDeque;

/// Most steps with prompts, and stretches of steps without: far above those of a published load.
const MOST_STRETCHES: u32 = 1 << 20;

/// Lengths of a request: tokens of its prompt and of its answer.
pub type Lengths = (u64, u64);

/// How an engine forms steps.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// Most tokens that enter in a step.
    pub budget: u64,
    /// A prompt that does not fit in what is left of the budget enters in part.
    pub chunked: bool,
    /// Prompts enter beside the tokens of sequences that decode; else in steps of their own, before those.
    pub mixed: bool,
    /// A request is let in when its whole length has room in the cache; else when its prompt has, and the last one in leaves where room ends.
    pub reserves: bool,
    /// Tokens that the cache has room for.
    pub room: u64,
    /// Most sequences that are in at once.
    pub most: u64,
    /// While sequences decode, prompts wait until so many tokens enter at once, or for so many steps. (0, 0) for no such wait.
    pub hold: (u64, u64),
}

/// What a step computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Composition {
    /// Tokens of prompts that enter.
    pub entered: u64,
    /// Prompts that they are of.
    pub prompts: u64,
    /// Tokens of these prompts that were in the cache before.
    pub past: u64,
    /// Sequences that decode.
    pub decodes: u64,
    /// Tokens of all of these in the cache, their new ones included.
    pub context: u64,
}

/// What steps take, and who is told of them.
pub trait Steps {
    /// Seconds of a step.
    ///
    /// # Errors
    /// The machine cannot run it, with the reason.
    fn seconds(&mut self, step: Composition) -> Result<f64, String>;

    /// So many steps were run, as this one.
    fn ran(&mut self, _step: Composition, _times: u64) {}

    /// Most steps that are taken for alike though contexts grow by a token in each.
    fn alike(&self) -> u64 {
        u64::MAX
    }
}

impl<F: FnMut(Composition) -> Result<f64, String>> Steps for F {
    fn seconds(&mut self, step: Composition) -> Result<f64, String> {
        self(step)
    }
}

/// When requests come.
#[derive(Debug, Clone, Copy)]
pub enum Arrivals<'a> {
    /// So many are kept in flight.
    Kept(usize),
    /// At these seconds, which do not fall.
    At(&'a [f64]),
}

/// A request that has been answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Its place in the order in which they were sent.
    pub request: usize,
    /// Seconds at which it was sent.
    pub sent_s: f64,
    /// Seconds at which the first of its tokens came out.
    pub first_s: f64,
    /// Seconds at which the last did.
    pub end_s: f64,
    /// Tokens of its prompt and of its answer.
    pub lengths: Lengths,
}

impl Answered {
    /// Seconds to the first token.
    pub fn ttft_s(&self) -> f64 {
        self.first_s - self.sent_s
    }

    /// Seconds from one token to the next; of an answer of one token there are none.
    pub fn tpot_s(&self) -> Option<f64> {
        (self.lengths.1 > 1).then(|| (self.end_s - self.first_s) / (self.lengths.1 - 1) as f64)
    }
}

/// What came of a load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Served {
    /// Requests, in the order in which they ended.
    pub answered: Vec<Answered>,
    /// Seconds until all were answered.
    pub end_s: f64,
    /// Seconds in which there was no request.
    pub idle_s: f64,
    /// Times that a sequence was put out for want of room.
    pub put_out: u64,
}

impl Served {
    /// Seconds to the first token and between tokens, in the mean over requests.
    pub fn means(&self) -> (f64, f64) {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0u32), |(sum, count), v| (sum + v, count + 1));
            sum / f64::from(count.max(1))
        };
        let each = &self.answered;
        (mean(&mut each.iter().map(Answered::ttft_s)), mean(&mut each.iter().filter_map(Answered::tpot_s)))
    }
}

#[derive(Debug, Clone)]
struct Request {
    place: usize,
    sent: f64,
    first: Option<f64>,
    lengths: Lengths,
    /// Tokens of the prompt, and of the answer if it was put out, that have yet to enter.
    to_enter: u64,
    /// Of these, tokens that have entered.
    inside: u64,
    /// Tokens that have yet to come out.
    to_come: u64,
    admitted: bool,
}

impl Request {
    const fn new(place: usize, lengths: Lengths, sent: f64) -> Self {
        Self { place, sent, first: None, lengths, to_enter: lengths.0, inside: 0, to_come: lengths.1, admitted: false }
    }

    /// Tokens in the cache once it is in.
    const fn held(&self) -> u64 {
        self.lengths.0 + (self.lengths.1 - self.to_come)
    }
}

struct Server<'a> {
    engine: Engine,
    to_send: std::iter::Enumerate<std::slice::Iter<'a, Lengths>>,
    /// When the next ones come; of a load that is kept, none do by themselves.
    arrivals: &'a [f64],
    arrived: usize,
    now: f64,
    used: u64,
    held_steps: u64,
    /// Sent at the end of the last step.
    sent: Vec<Request>,
    /// Behind the first of those that were sent before.
    arriving: Vec<Request>,
    waiting: VecDeque<Request>,
    running: Vec<Request>,
    served: Served,
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

    /// Prompts that enter the next step: what enters of them, and those that are then complete.
    fn admit(&mut self) -> (Composition, Vec<Request>) {
        let beside = if self.engine.mixed { self.running.len() as u64 } else { 0 };
        let mut left = self.engine.budget.saturating_sub(beside);
        let (mut step, mut complete) = (Composition::default(), Vec::new());
        if self.holds() {
            return (step, complete);
        }
        while let Some(front) = self.waiting.front() {
            let claim = self.claim(front);
            let full = (self.running.len() + complete.len()) as u64 >= self.engine.most;
            if !front.admitted && (full || self.used + claim > self.engine.room) {
                break;
            }
            let whole = front.to_enter;
            let takes = match (self.engine.chunked, whole <= left) {
                (_, true) => whole,
                (true, false) => left,
                // A prompt above the budget would never enter.
                (false, false) if step.entered == 0 && beside == 0 => whole,
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
            step.past += request.inside;
            step.prompts += 1;
            step.entered += takes;
            request.to_enter -= takes;
            request.inside += takes;
            left = left.saturating_sub(takes);
            if request.to_enter > 0 {
                self.waiting.push_front(request);
                break;
            }
            complete.push(request);
        }
        (step, complete)
    }

    /// Prompts that were on the way, or whose time has come, reach the engine.
    fn arrive(&mut self) {
        self.waiting.extend(self.arriving.drain(..));
        let mut sent = std::mem::take(&mut self.sent).into_iter();
        self.waiting.extend(sent.next());
        self.arriving.extend(sent);
        while let Some(&at) = self.arrivals.get(self.arrived).filter(|at| **at <= self.now) {
            self.arrived += 1;
            self.waiting.extend(self.to_send.next().map(|(place, lengths)| Request::new(place, *lengths, at)));
        }
    }

    /// Nothing is on the way, but for what comes by itself.
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
            self.served.answered.push(Answered {
                request: request.place,
                sent_s: request.sent,
                first_s: request.first.unwrap_or(self.now),
                end_s: self.now,
                lengths: request.lengths,
            });
            if self.arrivals.is_empty() {
                let next = self.to_send.next();
                self.sent.extend(next.map(|(place, lengths)| Request::new(place, *lengths, self.now)));
            }
        }
    }

    /// The last sequence that came in gives its room up, and begins again.
    fn put_out(&mut self) {
        if let Some(mut last) = self.running.pop() {
            self.served.put_out += 1;
            self.used = self.used.saturating_sub(self.claim(&last));
            last.to_enter = last.held();
            last.inside = 0;
            last.admitted = false;
            // Behind a prompt that has entered in part.
            let at = usize::from(self.waiting.front().is_some_and(|r| r.admitted));
            self.waiting.insert(at, last);
        }
    }

    /// Tokens of all sequences that decode, once each has its next.
    fn context(&self) -> u64 {
        self.running.iter().fold(0, |sum, r| sum.saturating_add(r.held() + 1))
    }

    /// Steps of so many seconds that begin before the next request comes.
    fn until_arrival(&self, seconds: f64) -> u64 {
        let Some(at) = self.arrivals.get(self.arrived) else { return u64::MAX };
        if seconds > 0.0 { (((at - self.now) / seconds).ceil().max(1.0)) as u64 } else { 1 }
    }
}

/// Serves requests in the order in which they come.
///
/// # Errors
/// A request has no room, or the load takes too many steps; or those of `steps`.
pub fn serve(
    requests: &[Lengths],
    arrivals: Arrivals<'_>,
    engine: Engine,
    steps: &mut dyn Steps,
) -> Result<Served, String> {
    if let Some(longest) = requests.iter().map(|r| r.0 + r.1).max().filter(|longest| *longest > engine.room) {
        return Err(format!("a request of {longest} tokens has no room: the cache has {}", engine.room));
    }
    let (at_once, times) = match arrivals {
        Arrivals::Kept(at_once) => (at_once, &[][..]),
        Arrivals::At(times) => (0, times),
    };
    let mut s = Server {
        engine,
        to_send: requests.iter().enumerate(),
        arrivals: times,
        arrived: 0,
        now: 0.0,
        used: 0,
        held_steps: 0,
        sent: Vec::new(),
        arriving: Vec::new(),
        waiting: VecDeque::new(),
        running: Vec::new(),
        served: Served::default(),
    };
    s.sent = s.to_send.by_ref().take(at_once).map(|(place, lengths)| Request::new(place, *lengths, 0.0)).collect();
    s.arrive();
    for _ in 0..MOST_STRETCHES {
        let (mut step, complete) = s.admit();
        let decodes = s.running.len() as u64;
        if step.entered > 0 {
            let tokens = u64::from(engine.mixed && decodes > 0);
            s.held_steps = 0;
            if engine.mixed {
                (step.decodes, step.context) = (decodes, s.context());
            }
            s.now += steps.seconds(step)?;
            steps.ran(step, 1);
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
            (step.decodes, step.context) = (decodes, s.context());
            let seconds = steps.seconds(step)?;
            let tokens = if s.is_quiet() && !held {
                shortest.min(fits).min(steps.alike()).min(s.until_arrival(seconds))
            } else {
                1
            };
            s.now += seconds * tokens as f64;
            steps.ran(step, tokens);
            s.after(tokens, complete);
        } else if !s.is_quiet() {
            s.arrive();
        } else if !s.waiting.is_empty() {
            return Err("a prompt finds no room".into());
        } else if let Some(&at) = s.arrivals.get(s.arrived) {
            s.served.idle_s += at - s.now;
            s.now = at;
            s.arrive();
        } else if s.served.answered.is_empty() {
            return Err("there is no request".into());
        } else {
            s.served.end_s = s.now;
            return Ok(s.served);
        }
    }
    Err(format!("the load takes more than {MOST_STRETCHES} steps"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WHOLE: Engine = Engine {
        budget: 8192,
        chunked: false,
        mixed: true,
        reserves: true,
        room: u64::MAX / 2,
        most: u64::MAX,
        hold: (0, 0),
    };

    /// A step takes 1 s, and 1 s more for each thousand tokens of prompts.
    fn cost(step: Composition) -> Result<f64, String> {
        Ok(1.0 + step.entered as f64 / 1000.0)
    }

    /// Mean seconds to the first token and between tokens under a load that is kept.
    fn kept(requests: &[Lengths], at_once: usize, engine: Engine) -> Result<(f64, f64), String> {
        serve(requests, Arrivals::Kept(at_once), engine, &mut cost).map(|s| s.means())
    }

    #[test]
    fn one_request_is_its_prompt_and_its_steps() {
        assert_eq!(kept(&[(1000, 11)], 1, WHOLE), Ok((2.0, 1.0)));
    }

    #[test]
    fn prompts_wait_for_each_other_and_delay_those_that_decode() {
        // Two prompts of 5000: the second has no room in the budget of the first step, and enters beside the first one's second token.
        let (first, token) = kept(&[(5000, 11), (5000, 11)], 2, WHOLE).unwrap();
        assert!((first - (6.0 + 12.0) / 2.0).abs() < 1e-9, "{first}");
        assert!((token - (15.0 / 10.0 + 1.0) / 2.0).abs() < 1e-9, "{token}");
        // In chunks the rest of a prompt above the budget enters beside the second: 8192 tokens, then 5808.
        let (first, token) = kept(&[(9000, 11), (5000, 11)], 2, Engine { chunked: true, ..WHOLE }).unwrap();
        assert!((first - 16.0).abs() < 1e-9 && (token - 1.0).abs() < 1e-9, "{first} {token}");
        // In steps of their own, the first waits while the second enters.
        let (_, token) = kept(&[(5000, 11), (5000, 11)], 2, Engine { mixed: false, ..WHOLE }).unwrap();
        assert!((token - (16.0 / 10.0 + 1.0) / 2.0).abs() < 1e-9, "{token}");
    }

    /// What the steps of a load are: tokens that enter, and sequences that decode.
    fn formed(requests: &[Lengths], arrivals: Arrivals<'_>, engine: Engine) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut noted = |step: Composition| {
            steps.push((step.entered, step.decodes));
            cost(step)
        };
        serve(requests, arrivals, engine, &mut noted).unwrap();
        steps
    }

    #[test]
    fn prompts_that_arrive_together_enter_together_but_for_the_first() {
        assert_eq!(formed(&[(1000, 3); 4], Arrivals::Kept(4), WHOLE), [(1000, 0), (3000, 1), (0, 4), (0, 3)]);
        // Prompts wait for others for two steps, and enter in the third.
        let waits = Engine { hold: (8000, 2), ..WHOLE };
        let steps = formed(&[(1000, 9); 2], Arrivals::Kept(2), waits);
        assert_eq!(steps[..5], [(1000, 0), (0, 1), (0, 1), (1000, 1), (0, 2)]);
    }

    #[test]
    fn a_request_without_room_waits_for_one_that_ends() {
        let narrow = Engine { room: 1500, ..WHOLE };
        let (first, _) = kept(&[(1000, 11), (1000, 11)], 2, narrow).unwrap();
        // 2 s and ten steps of the other, then its own 2 s.
        assert!((first - (2.0 + 14.0) / 2.0).abs() < 1e-9, "{first}");
        assert!(kept(&[(1500, 11)], 1, narrow).unwrap_err().contains("1511"));
        // No more sequences than the engine takes, whatever room there is.
        let one = Engine { most: 1, ..WHOLE };
        assert_eq!(kept(&[(1000, 11), (1000, 11)], 2, one), kept(&[(1000, 11), (1000, 11)], 2, narrow));
    }

    #[test]
    fn who_came_last_leaves_where_room_ends_and_enters_again() {
        let narrow = Engine { room: 2012, reserves: false, ..WHOLE };
        let mut entered = 0;
        let served = serve(&[(1000, 100), (1000, 100)], Arrivals::Kept(2), narrow, &mut |step: Composition| {
            entered += step.entered;
            cost(step)
        });
        assert!(served.as_ref().is_ok_and(|s| s.put_out > 0) && entered > 3000, "{entered}: {served:?}");
    }

    #[test]
    fn a_client_that_is_answered_sends_the_next_request() {
        assert_eq!(kept(&[(1000, 2); 10], 1, WHOLE), Ok((2.0, 1.0)));
    }

    #[test]
    fn requests_come_when_they_will() {
        // The second comes while the first decodes, in the middle of a step, and enters with the next; the third long after both.
        let times = [1.0, 4.5, 100.0];
        let served = serve(&[(1000, 4); 3], Arrivals::At(&times), WHOLE, &mut cost).unwrap();
        let first: Vec<f64> = served.answered.iter().map(|a| a.first_s).collect();
        assert_eq!(first, [3.0, 7.0, 102.0]);
        assert_eq!(served.answered.iter().map(|a| a.end_s).collect::<Vec<_>>(), [7.0, 10.0, 105.0]);
        assert_eq!((served.idle_s, served.end_s), (91.0, 105.0));
        let steps = formed(&[(1000, 4); 3], Arrivals::At(&times), WHOLE);
        assert_eq!(steps, [(1000, 0), (0, 1), (1000, 1), (0, 1), (1000, 0), (0, 1)]);
    }

    #[test]
    fn a_chunk_knows_what_of_its_prompt_is_there() {
        let mut past = Vec::new();
        let engine = Engine { budget: 1000, chunked: true, ..WHOLE };
        serve(&[(2500, 1)], Arrivals::Kept(1), engine, &mut |step: Composition| {
            past.push((step.past, step.entered, step.prompts));
            cost(step)
        })
        .unwrap();
        assert_eq!(past, [(0, 1000, 1), (1000, 1000, 1), (2000, 500, 1)]);
    }
}
