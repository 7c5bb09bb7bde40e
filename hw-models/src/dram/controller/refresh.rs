//! Whether a device's refreshes leave time for anything else.

use banksia_input::InputError;

use super::super::Cycle;
use super::shape::Shape;

/// Refuses refreshes that follow one another no faster than they fall due, or that keep a bank from every activation until the
/// next one is due: nothing else would ever run.
pub(super) fn check(shape: &Shape) -> Result<(), InputError> {
    let Some((interval, role)) = shape.refresh else { return Ok(()) };
    let device = &shape.device;
    let (Some(id), Some(roles)) = (shape.ids[role], device.roles) else { return Ok(()) };
    let spec = device.spec(id);
    let ranks = (shape.banks / shape.rank_banks) as Cycle;
    // How many intervals pass from one refresh to the next of the same banks.
    let turns = (shape.rank_banks / shape.refresh_banks(role).0.max(1)) as Cycle;
    let mut busy: (Cycle, &str) = (spec.bus_cycles * ranks, "holds its bus for");
    for row in device.timing.iter().filter(|r| r.from == id && !r.sibling) {
        let what = match row.to {
            to if to == id => "keeps the next refresh away for",
            to if to == roles.activate => "keeps its banks from every activation for",
            _ => continue,
        };
        let banks = device.levels[row.level.0 as usize].banks as usize;
        let wait = row.cycles.div_ceil(Cycle::from(row.window));
        // In the time of one interval, of the banks of one rank.
        let share = if banks > shape.rank_banks {
            wait * (banks / shape.rank_banks) as Cycle
        } else if banks == shape.rank_banks || turns == 1 {
            wait
        } else if banks == 1 {
            wait.div_ceil(turns)
        } else {
            continue;
        };
        if share > busy.0 {
            busy = (share, what);
        }
    }
    if interval > busy.0 {
        return Ok(());
    }
    let problem = format!(
        "is {interval} cycles for {}, and each {} {} of them: nothing else could ever run",
        spec.name, busy.1, busy.0
    );
    Err(InputError::new(format!("device {}", device.name), problem)
        .key(key(shape))
        .help("give tREFI in nanoseconds, and the time that a refresh takes below it; or switch refresh off"))
}

/// The key that gives the interval of the refresh in use.
fn key(shape: &Shape) -> &'static str {
    use super::super::defaults::RefreshPolicy;
    match shape.config.refresh {
        RefreshPolicy::PerBank => "refresh.bank_interval",
        RefreshPolicy::SameBank => "refresh.same_bank_interval",
        RefreshPolicy::AllBank | RefreshPolicy::Off | RefreshPolicy::Device => "refresh.interval",
    }
}
