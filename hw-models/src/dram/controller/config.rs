//! What a memory controller does: its policies, as a table of settings.

use banksia_input::schema::of_file;
use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::super::defaults::{MapSpec, RefreshPolicy};
use super::super::device::Device;

/// The order in which requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
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

/// When a rank is put to sleep, in idle cycles of the command clock: into power-down first, and into self-refresh later, where
/// both are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sleep {
    /// Before power-down; never where there is none.
    pub power_down: Option<u64>,
    /// Before self-refresh; never where there is none. Later than `power_down`.
    pub self_refresh: Option<u64>,
}

impl Sleep {
    /// Ranks never sleep.
    pub const NEVER: Self = Self { power_down: None, self_refresh: None };

    /// Whether ranks ever sleep.
    pub fn is_some(&self) -> bool {
        self.power_down.is_some() || self.self_refresh.is_some()
    }
}

/// What is done against RowHammer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowHammerPolicy {
    /// Nothing.
    #[default]
    Off,
    /// Refresh management: the controller counts each bank's activations, and gives the device an RFM for so many.
    Rfm,
    /// Per-row activation counting: the device counts each row's activations, and the controller answers its alerts.
    Prac,
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
    /// Entries of the read queue, 1 to 64; 0 for as many as suit the device.
    pub read_queue: u32,
    /// Entries of the write queue, 1 to 64; 0 for as many as suit the device.
    pub write_queue: u32,
    /// Share of the write queue above which writes are drained.
    pub drain_high: f32,
    /// Share of the write queue below which reads are served again.
    pub drain_low: f32,
    /// When ranks sleep, if ever.
    pub sleep: Sleep,
    /// What is done against RowHammer.
    pub row_hammer: RowHammerPolicy,
    /// How transaction indices become banks, rows and columns.
    pub map: MapSpec,
    /// Keeps the reference simulator's model where that says less than the data sheets: requests to one address may pass one
    /// another, and rows that the model lacks (`reference = false`) do not hold.
    pub reference_model: bool,
}

impl Default for ControllerConfig {
    /// What a controller of today does: row hits first up to a cap, open rows; address map, queues and refresh as suits the device.
    fn default() -> Self {
        Self {
            scheduler: Scheduler::RowHitsFirst,
            row_hit_cap: Some(16),
            refresh: RefreshPolicy::Device,
            read_queue: 0,
            write_queue: 0,
            map: MapSpec::of_the_device(),
            reference_model: false,
            ..Self::reference()
        }
    }
}

/// A memory controller's file: what it leaves out is as in the controller `default`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    /// The order in which requests are served.
    scheduler: Option<Scheduler>,
    /// Accesses that a row may have while a request to another row of its bank waits; not for `fcfs`.
    row_hit_cap: Option<u32>,
    /// When a row is closed.
    page: Option<PagePolicy>,
    /// Idle cycles of the command clock before a row is closed; for `page = "timeout"` and `page = "adaptive"`.
    page_timeout_cycles: Option<u64>,
    /// Which refreshes are issued.
    refresh: Option<RefreshPolicy>,
    /// All-bank refreshes that may wait for idle time.
    postponed_refreshes: Option<u32>,
    /// Entries of the read queue, 1 to 64.
    read_queue: Option<u32>,
    /// Entries of the write queue, 1 to 64.
    write_queue: Option<u32>,
    /// Share of the write queue above which writes are drained.
    drain_high: Option<f32>,
    /// Share of the write queue below which reads are served again; above 0.
    drain_low: Option<f32>,
    /// Idle cycles of the command clock before a rank is put into power-down; never where absent.
    power_down_after_cycles: Option<u64>,
    /// Idle cycles of the command clock before a rank is put into self-refresh; never where absent.
    self_refresh_after_cycles: Option<u64>,
    /// What is done against RowHammer.
    row_hammer: Option<RowHammerPolicy>,
    /// How addresses become banks, rows and columns.
    map: Option<MapSpec>,
}

impl RawConfig {
    /// The refreshes: those that are named, all-bank where some may be postponed, or what suits the device.
    fn refresh(&self) -> RefreshPolicy {
        match (self.refresh, self.postponed_refreshes) {
            (Some(refresh), _) => refresh,
            (None, Some(1..)) => RefreshPolicy::AllBank,
            (None, _) => RefreshPolicy::Device,
        }
    }

    /// Refuses keys that would do nothing beside the others.
    fn check_together(&self, source: &Source) -> Result<(), InputError> {
        let long = 1..=1_000_000_000u64;
        if let Some(cycles) = self.page_timeout_cycles {
            let page = self.page.unwrap_or_default();
            if !matches!(page, PagePolicy::Timeout | PagePolicy::Adaptive) {
                let name = if page == PagePolicy::Closed { "closed" } else { "open" };
                let problem = format!(
                    "does nothing beside `page = \"{name}\"`: it is for `page = \"timeout\"` and `page = \"adaptive\"`"
                );
                return Err(source.error("page_timeout_cycles", problem));
            }
            source.check("page_timeout_cycles", cycles, long.clone())?;
        }
        if self.row_hit_cap.is_some() && self.scheduler == Some(Scheduler::Fcfs) {
            let problem = "does nothing beside `scheduler = \"fcfs\"`, which passes no request over: \
                           it is for `fr-fcfs` and `row-hits-first`";
            return Err(source.error("row_hit_cap", problem));
        }
        if self.postponed_refreshes.is_some_and(|n| n > 0)
            && let refresh @ (RefreshPolicy::Off | RefreshPolicy::PerBank | RefreshPolicy::SameBank) = self.refresh()
        {
            let name = match refresh {
                RefreshPolicy::PerBank => "per-bank",
                RefreshPolicy::SameBank => "same-bank",
                _ => "off",
            };
            let problem = format!("does nothing beside `refresh = \"{name}\"`: it is for `refresh = \"all-bank\"`");
            return Err(source.error("postponed_refreshes", problem));
        }
        for (key, cycles) in [
            ("power_down_after_cycles", self.power_down_after_cycles),
            ("self_refresh_after_cycles", self.self_refresh_after_cycles),
        ] {
            cycles.map(|n| source.check(key, n, long.clone())).transpose()?;
        }
        if let (Some(first), Some(then)) = (self.power_down_after_cycles, self.self_refresh_after_cycles)
            && then <= first
        {
            let problem = format!(
                "is {then}, and `power_down_after_cycles` {first}: power-down comes first, so this must be more"
            );
            return Err(source.error("self_refresh_after_cycles", problem));
        }
        Ok(())
    }
}

impl ControllerConfig {
    /// The JSON schema of a controller's file.
    pub fn schema() -> Schema {
        of_file::<RawConfig>("Banksia: a memory controller")
    }

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
            sleep: Sleep::NEVER,
            row_hammer: RowHammerPolicy::Off,
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
        raw.check_together(source)?;
        let base = Self::default();
        let queue = |key: &str, given: Option<u32>| given.map_or(Ok(0), |entries| source.check(key, entries, 1..=64));
        let share = |key: &str, given: Option<f32>, usual| source.check(key, given.unwrap_or(usual), 0.0..=1.0);
        let config = Self {
            scheduler: raw.scheduler.unwrap_or(base.scheduler),
            row_hit_cap: match (raw.row_hit_cap, raw.scheduler) {
                (Some(cap), _) => Some(source.check("row_hit_cap", cap, 1..=1_000_000)?),
                (None, None) => base.row_hit_cap,
                (None, Some(_)) => None,
            },
            page: raw.page.unwrap_or(base.page),
            page_timeout: raw.page_timeout_cycles.unwrap_or(base.page_timeout),
            refresh: raw.refresh(),
            postpone: raw.postponed_refreshes.unwrap_or(base.postpone),
            read_queue: queue("read_queue", raw.read_queue)?,
            write_queue: queue("write_queue", raw.write_queue)?,
            drain_high: share("drain_high", raw.drain_high, base.drain_high)?,
            drain_low: share("drain_low", raw.drain_low, base.drain_low)?,
            sleep: Sleep { power_down: raw.power_down_after_cycles, self_refresh: raw.self_refresh_after_cycles },
            row_hammer: raw.row_hammer.unwrap_or(base.row_hammer),
            map: raw.map.unwrap_or(base.map),
            reference_model: false,
        };
        if config.drain_low <= 0.0 {
            let problem = "is 0: reads would never be served again after the first write; must be above 0";
            return Err(source.error("drain_low", problem));
        }
        if config.drain_low > config.drain_high {
            let (low, high) = (config.drain_low, config.drain_high);
            let key = if raw.drain_low.is_some() { "drain_low" } else { "drain_high" };
            let problem = format!("leaves `drain_low` ({low}) above `drain_high` ({high}): it must be at most as much");
            return Err(source.error(key, problem));
        }
        Ok(config)
    }

    /// The same policies with what is left to the device as the device has it.
    #[must_use]
    pub fn for_device(&self, device: &Device) -> Self {
        let usual = Self::reference();
        let own = &device.defaults;
        let queue = |given: u32| if given > 0 { given } else { own.queue.unwrap_or(usual.read_queue) };
        let refresh = match self.refresh {
            RefreshPolicy::Device => own.refresh.unwrap_or(usual.refresh),
            given => given,
        };
        Self { refresh, read_queue: queue(self.read_queue), write_queue: queue(self.write_queue), ..self.clone() }
    }

    /// Whether every policy is one that the reference has, whatever its numbers: the fast path caches decisions then.
    pub(super) fn is_plain(&self) -> bool {
        self.reference_model
            && self.scheduler == Scheduler::FrFcfs
            && self.row_hit_cap.is_none()
            && self.page == PagePolicy::Open
            && matches!(self.refresh, RefreshPolicy::Off | RefreshPolicy::AllBank)
            && self.postpone == 0
            && !self.sleep.is_some()
            && self.row_hammer == RowHammerPolicy::Off
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
            RefreshPolicy::Off | RefreshPolicy::Device => (false, "off"),
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
        let sleeps = [
            (self.sleep.power_down.is_some() && roles.power_down.is_none(), "power_down_after_cycles"),
            (self.sleep.self_refresh.is_some() && roles.self_refresh.is_none(), "self_refresh_after_cycles"),
        ];
        if let Some((_, key)) = sleeps.iter().find(|(lacks, _)| *lacks) {
            return fail(key, format!("is set, and {} has no command for it", device.name));
        }
        self.check_row_hammer(device)
    }

    /// Checks that a device has what is to be done against RowHammer.
    fn check_row_hammer(&self, device: &Device) -> Result<(), InputError> {
        let offer = device.row_hammer;
        let (has, name, what, help) = match self.row_hammer {
            RowHammerPolicy::Off => return Ok(()),
            RowHammerPolicy::Rfm => (
                offer.is_some_and(|o| o.management.is_some()),
                "rfm",
                "a command and thresholds for refresh management",
                "DDR5, HBM3 and HBM4 of the catalog have them; another device's file gives them in [row_hammer], as `rfm_all` and `raaimt`",
            ),
            RowHammerPolicy::Prac => (
                offer.is_some_and(|o| o.counting.is_some()),
                "prac",
                "counters of its rows' activations",
                "ddr5-6400-prac has them; another device's file gives them in [row_hammer], as `rfm_all` and `prac_threshold`",
            ),
        };
        if has {
            return Ok(());
        }
        let problem = format!("is `{name}`, and {} lacks {what}", device.name);
        Err(InputError::new("controller", problem).key("row_hammer").help(help))
    }
}
