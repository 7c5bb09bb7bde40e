//! What a memory controller does: its policies, as a table of settings.

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

use super::super::device::Device;
use super::map::MapSpec;

/// The order in which requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// The oldest request first.
    Fcfs,
    /// Whichever request's next command is ready, whatever command that is; the oldest of these. The reference rule.
    FrFcfs,
    /// A ready access to an open row before anything else, and no row is closed while requests for it wait.
    #[default]
    RowHitsFirst,
}

/// When a row is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PagePolicy {
    /// When another row of the bank is wanted, or for a refresh.
    #[default]
    Open,
    /// With its last queued access (auto-precharge).
    Closed,
    /// After it has lain idle for `page_timeout_cycles`.
    Timeout,
    /// As timeout; the time doubles where the closed row is wanted again, and halves where an open one was in the way.
    Adaptive,
}

/// Which refreshes are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshPolicy {
    /// None at all.
    Off,
    /// All banks of a rank (or pseudo-channel) at once.
    #[default]
    AllBank,
    /// One bank after the other.
    PerBank,
    /// The same bank of every bank group (DDR5).
    SameBank,
}

/// When a rank is put to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleep {
    /// Idle cycles of the command clock before it.
    pub after: u64,
    /// Into self-refresh instead of power-down.
    pub self_refresh: bool,
}

/// The policies of a controller.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerConfig {
    /// Which request is served first.
    pub scheduler: Scheduler,
    /// How many accesses a row may have while a request to another row of its bank waits (not for `Fcfs`).
    pub row_hit_cap: Option<u32>,
    /// When a row is closed.
    pub page: PagePolicy,
    /// Idle cycles of the command clock before a row is closed.
    pub page_timeout: u64,
    /// Which refreshes are issued.
    pub refresh: RefreshPolicy,
    /// How many all-bank refreshes may wait for idle time.
    pub postpone: u32,
    /// Entries of the read queue, 1 to 64.
    pub read_queue: u32,
    /// Entries of the write queue, 1 to 64.
    pub write_queue: u32,
    /// Share of the write queue above which writes are drained.
    pub drain_high: f32,
    /// Share of the write queue below which reads are served again.
    pub drain_low: f32,
    /// When ranks sleep, if ever.
    pub sleep: Option<Sleep>,
    /// How transaction indices become banks, rows and columns.
    pub map: MapSpec,
    /// Keeps the reference simulator's model where that says less than the data sheets: requests to one address may pass one
    /// another, and rows that the model lacks (`reference = false`) do not hold.
    pub reference_model: bool,
}

impl Default for ControllerConfig {
    /// What a controller of today does: row hits first up to a cap, open rows, all-bank refresh.
    fn default() -> Self {
        Self { scheduler: Scheduler::RowHitsFirst, row_hit_cap: Some(16), reference_model: false, ..Self::reference() }
    }
}

/// A controller file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    scheduler: Option<Scheduler>,
    row_hit_cap: Option<u32>,
    page: Option<PagePolicy>,
    page_timeout_cycles: Option<u64>,
    refresh: Option<RefreshPolicy>,
    postponed_refreshes: Option<u32>,
    read_queue: Option<u32>,
    write_queue: Option<u32>,
    drain_high: Option<f32>,
    drain_low: Option<f32>,
    power_down_after_cycles: Option<u64>,
    self_refresh_after_cycles: Option<u64>,
    map: Option<MapSpec>,
}

impl ControllerConfig {
    /// The policies of the reference: those of Ramulator 2.1's default controllers, rule by rule in `docs/memory-controller.md`.
    pub fn reference() -> Self {
        Self {
            scheduler: Scheduler::FrFcfs,
            row_hit_cap: None,
            page: PagePolicy::Open,
            page_timeout: 200,
            refresh: RefreshPolicy::AllBank,
            postpone: 0,
            read_queue: 32,
            write_queue: 32,
            drain_high: 0.8,
            drain_low: 0.2,
            sleep: None,
            map: MapSpec::default(),
            reference_model: true,
        }
    }

    /// The controller of a name (`reference`, `default`) or of a TOML file.
    ///
    /// # Errors
    /// There is no such controller, or its file cannot be used.
    pub fn load(name: &str) -> Result<Self, InputError> {
        match name {
            "reference" => Ok(Self::reference()),
            "default" => Ok(Self::default()),
            path if path.ends_with(".toml") => Self::from_source(&Source::read(path.as_ref())?),
            other => Err(InputError::unknown_name("--controller", "controller", other, ["default", "reference"])),
        }
    }

    /// The controller of a TOML text; what it leaves out is as in the default.
    ///
    /// # Errors
    /// A key is unknown, or a value out of range.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let raw: RawConfig = source.parse()?;
        let base = Self::default();
        let queue = |key: &str, given: Option<u32>, usual| source.check(key, given.unwrap_or(usual), 1..=64);
        let share = |key: &str, given: Option<f32>, usual| source.check(key, given.unwrap_or(usual), 0.0..=1.0);
        let long = 1..=1_000_000_000u64;
        let sleep = match (raw.power_down_after_cycles, raw.self_refresh_after_cycles) {
            (Some(_), Some(_)) => {
                let problem = "cannot stand beside `power_down_after_cycles`";
                return Err(source.error("self_refresh_after_cycles", problem));
            }
            (Some(n), None) => {
                Some(Sleep { after: source.check("power_down_after_cycles", n, long.clone())?, self_refresh: false })
            }
            (None, Some(n)) => {
                Some(Sleep { after: source.check("self_refresh_after_cycles", n, long.clone())?, self_refresh: true })
            }
            (None, None) => None,
        };
        let config = Self {
            scheduler: raw.scheduler.unwrap_or(base.scheduler),
            row_hit_cap: match (raw.row_hit_cap, raw.scheduler) {
                (Some(cap), _) => Some(source.check("row_hit_cap", cap, 1..=1_000_000)?),
                (None, None) => base.row_hit_cap,
                (None, Some(_)) => None,
            },
            page: raw.page.unwrap_or(base.page),
            page_timeout: source.check(
                "page_timeout_cycles",
                raw.page_timeout_cycles.unwrap_or(base.page_timeout),
                long,
            )?,
            refresh: raw.refresh.unwrap_or(base.refresh),
            postpone: raw.postponed_refreshes.unwrap_or(base.postpone),
            read_queue: queue("read_queue", raw.read_queue, base.read_queue)?,
            write_queue: queue("write_queue", raw.write_queue, base.write_queue)?,
            drain_high: share("drain_high", raw.drain_high, base.drain_high)?,
            drain_low: share("drain_low", raw.drain_low, base.drain_low)?,
            sleep,
            map: raw.map.unwrap_or(base.map),
            reference_model: false,
        };
        if config.drain_low > config.drain_high {
            return Err(source.error("drain_low", format!("is {}, above `drain_high`", config.drain_low)));
        }
        Ok(config)
    }

    /// Whether every policy is one that the reference has, whatever its numbers: the fast path caches decisions then.
    pub(super) fn is_plain(&self) -> bool {
        self.reference_model
            && self.scheduler == Scheduler::FrFcfs
            && self.row_hit_cap.is_none()
            && self.page == PagePolicy::Open
            && matches!(self.refresh, RefreshPolicy::Off | RefreshPolicy::AllBank)
            && self.postpone == 0
            && self.sleep.is_none()
    }

    /// Checks that a device has what the policies need.
    ///
    /// # Errors
    /// It lacks a command or allows less than is asked.
    pub fn check(&self, device: &Device) -> Result<(), InputError> {
        let fail = |key: &str, problem: String| Err(InputError::new("controller", problem).key(key));
        let Some(roles) = device.roles else {
            let problem = format!("{} has no activate, precharge, read and write for a controller", device.name);
            return fail("device", problem);
        };
        if self.drain_low <= 0.0 {
            return fail("drain_low", "is 0: reads would never be served again after the first write".into());
        }
        if self.page == PagePolicy::Closed && roles.auto_precharge.is_none() {
            return fail("page", format!("is `closed`, and {} has no read and write with auto-precharge", device.name));
        }
        let (missing, name) = match self.refresh {
            RefreshPolicy::Off => (false, "off"),
            RefreshPolicy::AllBank => (device.refresh.is_none(), "all-bank"),
            RefreshPolicy::PerBank => (roles.refresh_bank.is_none(), "per-bank"),
            RefreshPolicy::SameBank => (roles.refresh_same_bank.is_none(), "same-bank"),
        };
        if missing {
            return fail(
                "refresh",
                format!("is `{name}`, and {} never issues one: it has no such command", device.name),
            );
        }
        if self.postpone > 0 && self.refresh != RefreshPolicy::AllBank {
            return fail("postponed_refreshes", "is for all-bank refresh".into());
        }
        if self.postpone > roles.max_postponed {
            let problem = format!("is {}: {} allows {}", self.postpone, device.name, roles.max_postponed);
            return fail("postponed_refreshes", problem);
        }
        if let Some(sleep) = self.sleep {
            let (has, what) = if sleep.self_refresh {
                (roles.self_refresh.is_some(), "self_refresh_after_cycles")
            } else {
                (roles.power_down.is_some(), "power_down_after_cycles")
            };
            if !has {
                return fail(what, format!("is set, and {} has no command for it", device.name));
            }
        }
        Ok(())
    }
}
