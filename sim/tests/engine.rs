//! The engine as its users see it: order, back-pressure, pauses, and what it says when a run cannot end.

use banksia_sim::{
    Component, ComponentId, Engine, Machine, NullObserver, Outcome, Port, Recorder, RunError, Time, Wait, Wakes,
};
use proptest::prelude::*;

const fn fs(t: u64) -> Time {
    Time::from_fs(t)
}

/// One stage of a ring or a chain: takes a value, works on it for a while, sends it on.
struct Stage {
    id: ComponentId,
    work: u64,
    busy_until: Time,
    holds: Option<u32>,
    to_make: u32,
    /// How many values must have arrived here for the stage to be done; they are kept.
    expected: u32,
    kept: Vec<(u64, u32)>,
}

impl Stage {
    fn input(&self) -> usize {
        self.id.index()
    }
}

struct Ports {
    /// Port i belongs to stage i.
    inputs: Vec<Port<u32>>,
    /// Whether the last stage sends to the first.
    ring: bool,
}

impl Ports {
    fn after(&self, i: usize) -> Option<usize> {
        let next = i + 1;
        if next < self.inputs.len() { Some(next) } else { self.ring.then_some(0) }
    }
}

impl Component<Ports> for Stage {
    fn next_action(&self, ports: &Ports) -> Option<Time> {
        let blocked = ports.after(self.input()).is_some_and(|p| ports.inputs[p].is_waiting(self.id));
        if self.holds.is_some() || self.to_make > 0 {
            return (!blocked).then_some(self.busy_until);
        }
        ports.inputs[self.input()].ready_at().map(|t| t.max(self.busy_until))
    }

    fn act(&mut self, now: Time, ports: &mut Ports, wakes: &mut Wakes) {
        if self.holds.is_none() && self.to_make > 0 {
            self.holds = Some(self.to_make);
            self.to_make -= 1;
        }
        if let Some(value) = self.holds.take() {
            match ports.after(self.input()) {
                Some(p) => {
                    if ports.inputs[p].try_send(now, self.id, value, wakes).is_err() {
                        self.holds = Some(value);
                        return;
                    }
                }
                None => self.kept.push((now.as_fs(), value)),
            }
        }
        // What it makes itself comes first, so that a ring fills up.
        if self.to_make == 0
            && let Some(value) = ports.inputs[self.id.index()].recv(now, wakes)
        {
            self.holds = Some(value);
            self.busy_until = now.saturating_add(fs(self.work));
        }
    }

    fn waits(&self, ports: &Ports) -> Vec<Wait> {
        if self.holds.is_some() {
            return ports.after(self.input()).map(|p| ports.inputs[p].wait_for_room()).into_iter().collect();
        }
        if self.kept.len() < self.expected as usize {
            let before = ComponentId(self.id.0.saturating_sub(1));
            return vec![ports.inputs[self.input()].wait_for_value(before)];
        }
        vec![]
    }
}

fn stages(work: &[u64], capacity: usize, latency: u64, ring: bool) -> Machine<Stage, Ports> {
    let inputs = (0..work.len())
        .map(|i| Port::new(format!("in{i}"), ComponentId(i as u32), capacity).with_latency(fs(latency)))
        .collect();
    let mut machine = Machine::new(Ports { inputs, ring });
    for (i, &work) in work.iter().enumerate() {
        let id = ComponentId(i as u32);
        let stage = Stage { id, work, busy_until: Time::ZERO, holds: None, to_make: 0, expected: 0, kept: Vec::new() };
        assert_eq!(machine.add(format!("stage{i}"), stage), id);
    }
    machine
}

#[test]
fn a_ring_of_full_ports_is_reported_as_a_cycle() {
    let mut machine = stages(&[1, 1, 1], 1, 0, true);
    for stage in &mut machine.components {
        stage.to_make = 3;
    }
    let error = Engine::new().run(&mut machine).unwrap_err();
    let RunError::Deadlock(deadlock) = &error else { panic!("{error}") };
    assert_eq!((deadlock.cycle.len(), deadlock.blocked.len()), (3, 3));
    assert_eq!(
        error.to_string().lines().skip(1).collect::<Vec<_>>(),
        [
            "  stage0 waits for stage1: room in `in1` (1 of 1 full)",
            "  stage1 waits for stage2: room in `in2` (1 of 1 full)",
            "  stage2 waits for stage0: room in `in0` (1 of 1 full)",
        ]
    );
}

#[test]
fn missing_input_is_reported_without_a_cycle() {
    let mut machine = stages(&[1, 1, 1], 2, 0, false);
    machine.components[0].to_make = 2;
    machine.components[2].expected = 3;
    let error = Engine::new().run(&mut machine).unwrap_err().to_string();
    assert!(error.contains("no components wait for each other"), "{error}");
    assert!(error.ends_with("\n  stage2 waits for stage1: a value in `in2`"), "{error}");
}

/// Answers whatever it was made with.
struct Stuck(Option<Time>);

impl Component<()> for Stuck {
    fn next_action(&self, (): &()) -> Option<Time> {
        self.0
    }
    fn act(&mut self, _: Time, (): &mut (), _: &mut Wakes) {}
    fn waits(&self, (): &()) -> Vec<Wait> {
        vec![Wait { on: ComponentId(77), what: "nobody".into() }]
    }
}

#[test]
fn acting_for_ever_at_one_time_is_a_livelock() {
    let mut machine = Machine::new(());
    machine.add("spinner", Stuck(Some(fs(5))));
    let error = Engine::new().with_livelock_after(100).run(&mut machine).unwrap_err();
    assert_eq!(error, RunError::Livelock { at: fs(5), acts: 100, component: "spinner".into() });
}

#[test]
fn the_end_of_time_is_an_overflow() {
    let mut machine = Machine::new(());
    machine.add("late", Stuck(Some(Time::MAX)));
    let error = Engine::new().run(&mut machine).unwrap_err();
    assert_eq!(error, RunError::TimeOverflow { at: Time::ZERO, component: "late".into() });
}

#[test]
fn waiting_for_a_component_that_does_not_exist_is_no_panic() {
    let mut machine = Machine::new(());
    machine.add("lost", Stuck(None));
    let error = Engine::new().run(&mut machine).unwrap_err().to_string();
    assert!(error.ends_with("lost waits for component 77: nobody"), "{error}");
}

/// A pause keeps the order of what is due together after it.
#[test]
fn a_pause_before_two_wake_ups_of_one_time_changes_nothing() {
    let build = || {
        let mut machine = stages(&[1, 37, 37], 64, 0, false);
        machine.components[0].to_make = 2;
        machine.components[2].expected = 2;
        machine
    };
    let (mut whole, mut engine) = (build(), Engine::new());
    engine.run(&mut whole).unwrap();
    let (mut machine, mut paused) = (build(), Engine::new());
    for until in [37, 40, 73, 74] {
        paused.run_until(&mut machine, fs(until), &mut Recorder::new(0)).unwrap();
    }
    paused.run(&mut machine).unwrap();
    assert_eq!((paused.acts(), paused.now()), (engine.acts(), engine.now()));
    assert_eq!(machine.components[2].kept, whole.components[2].kept);
}

proptest! {
    /// A chain delivers every value in order, at the times of the closed form for queues in tandem, and a run that is
    /// paused anywhere and observed gives the same.
    #[test]
    fn a_chain_with_room_runs_at_the_pace_of_its_slowest_stage(
        work in prop::collection::vec(1u64..50, 2..6),
        latency in 0u64..20,
        count in 1u32..30,
        pauses in prop::collection::vec(1u64..100, 0..5),
    ) {
        let build = || {
            let mut machine = stages(&work, 64, latency, false);
            machine.components[0].to_make = count;
            machine.components[work.len() - 1].expected = count;
            machine
        };
        let mut machine = build();
        let mut engine = Engine::new();
        engine.run(&mut machine).unwrap();
        let kept = &machine.components[work.len() - 1].kept;

        // Everything is sent at time 0; a stage is done with value k at max(arrival, done with k-1) + work.
        let mut times = vec![0u64; count as usize];
        for &w in &work[1..] {
            let mut free = 0;
            for t in &mut times {
                free = free.max(*t + latency) + w;
                *t = free;
            }
        }
        let expected: Vec<(u64, u32)> = times.iter().copied().zip((1..=count).rev()).collect();
        prop_assert_eq!(kept, &expected);

        let mut again = build();
        let mut paused = Engine::new();
        let mut recorder = Recorder::new(usize::MAX);
        let mut until = 0;
        for pause in pauses {
            until += pause;
            let outcome = paused.run_until(&mut again, fs(until), &mut recorder).unwrap();
            prop_assert!(paused.now() <= fs(until));
            prop_assert_eq!(outcome == Outcome::Finished, engine.now() <= fs(until));
        }
        prop_assert_eq!(paused.run_until(&mut again, Time::MAX, &mut recorder), Ok(Outcome::Finished));
        prop_assert_eq!(&again.components[work.len() - 1].kept, &expected);
        prop_assert_eq!((paused.acts(), paused.now()), (engine.acts(), engine.now()));
        prop_assert_eq!(recorder.records.len() as u64, engine.acts());
    }

    /// With little room values are held back, and none is lost, doubled or overtaken.
    #[test]
    fn back_pressure_loses_nothing(
        work in prop::collection::vec(1u64..50, 2..6),
        capacity in 1usize..4,
        count in 1u32..40,
    ) {
        let mut machine = stages(&work, capacity, 3, false);
        machine.components[0].to_make = count;
        machine.components[work.len() - 1].expected = count;
        prop_assert_eq!(
            Engine::new().run_until(&mut machine, Time::MAX, &mut NullObserver),
            Ok(Outcome::Finished)
        );
        let order: Vec<u32> = machine.components[work.len() - 1].kept.iter().map(|k| k.1).collect();
        prop_assert_eq!(order, (1..=count).rev().collect::<Vec<_>>());
        prop_assert!(machine.shared.inputs.iter().all(|p| p.occupancy.max <= capacity as u64 && p.is_empty()));
    }
}
