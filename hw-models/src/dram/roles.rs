//! Which commands a memory controller uses for what, resolved from names.

use banksia_input::InputError;

use super::Cycle;
use super::defaults::{ControllerDefaults, RefreshPolicy};
use super::device::{Command, CommandId, Compiler, Effect, Level, Roles, Sync};

impl Compiler<'_> {
    /// The commands of a memory controller, or `None` where the device lacks one that every controller needs and the file
    /// names none itself.
    pub(super) fn roles(&self, levels: &[Level], commands: &[Command]) -> Result<Option<Roles>, InputError> {
        let raw = &self.raw.controller;
        let find = |field: &str, given: &Option<String>, usual: &str| -> Result<Option<CommandId>, InputError> {
            let name = given.as_deref().unwrap_or(usual);
            match commands.iter().position(|c| c.name == name) {
                Some(i) => Ok(Some(CommandId(i as u8))),
                None if given.is_none() => Ok(None),
                None => {
                    let known = commands.iter().map(|c| c.name.as_str());
                    Err(self.source.unknown_name(&format!("controller.{field}"), "command", name, known))
                }
            }
        };
        let needed = (
            find("activate", &raw.activate, "ACT")?,
            find("precharge", &raw.precharge, "PREpb")?,
            find("precharge_all", &raw.precharge_all, "PREab")?,
            find("read", &raw.read, "RD")?,
            find("write", &raw.write, "WR")?,
        );
        let (Some(activate), Some(precharge), Some(precharge_all), Some(read), Some(write)) = needed else {
            return Ok(None);
        };
        let time = |field: &str, text: &Option<String>| -> Result<Cycle, InputError> {
            let key = format!("controller.{field}");
            let text = text.as_ref().ok_or_else(|| self.source.error(&key, "is missing beside its command"))?;
            Ok(self.ticks(&key, text, 1_000_000_000)? as Cycle)
        };
        let activate_second = match find("activate_second", &raw.activate_second, "")? {
            Some(c) => Some((c, time("activate_deadline", &raw.activate_deadline)?)),
            None => None,
        };
        let sync = match (find("sync_read", &raw.sync_read, "")?, find("sync_write", &raw.sync_write, "")?) {
            (Some(read), Some(write)) => Some(Sync {
                read,
                write,
                read_keeps: time("sync_read_keeps", &raw.sync_read_keeps)?,
                write_keeps: time("sync_write_keeps", &raw.sync_write_keeps)?,
            }),
            _ => None,
        };
        let refresh = |kind: &str, name: &Option<String>, interval: &Option<String>| match name {
            None => Ok(None),
            Some(name) => {
                let key = format!("refresh.{kind}_command");
                let command = commands.iter().position(|c| c.name == *name).ok_or_else(|| {
                    self.source.unknown_name(&key, "command", name, commands.iter().map(|c| c.name.as_str()))
                })?;
                if commands[command].effect != Effect::Refresh {
                    return Err(self.source.error(&key, format!("`{name}` does not refresh")));
                }
                let key = format!("refresh.{kind}_interval");
                let text = interval.as_ref().ok_or_else(|| self.source.error(&key, "is missing"))?;
                let interval = self.source.check(&key, self.ticks(&key, text, 1_000_000_000)?, 1..=1_000_000_000)?;
                Ok(Some((CommandId(command as u8), interval as Cycle)))
            }
        };
        let (refresh_bank, refresh_same_bank, max_postponed) = match &self.raw.refresh {
            Some(r) => (
                refresh("bank", &r.bank_command, &r.bank_interval)?,
                refresh("same_bank", &r.same_bank_command, &r.same_bank_interval)?,
                r.max_postponed,
            ),
            None => (None, None, 0),
        };
        let pair = |a: Option<CommandId>, b: Option<CommandId>| a.zip(b);
        let roles = Roles {
            activate,
            activate_second,
            precharge,
            precharge_all,
            read,
            write,
            auto_precharge: pair(
                find("read_precharge", &raw.read_precharge, "RDA")?,
                find("write_precharge", &raw.write_precharge, "WRA")?,
            ),
            sync,
            refresh_bank,
            refresh_same_bank,
            max_postponed,
            power_down: pair(find("power_down", &raw.power_down, "PDE")?, find("power_up", &raw.power_up, "PDX")?),
            self_refresh: pair(
                find("self_refresh", &raw.self_refresh, "SRE")?,
                find("self_refresh_exit", &raw.self_refresh_exit, "SRX")?,
            ),
        };
        self.check_roles(levels, commands, &roles)?;
        Ok(Some(roles))
    }

    /// What the device asks of a controller that leaves a setting to it.
    pub(super) fn controller_defaults(&self, commands: &[Command]) -> Result<ControllerDefaults, InputError> {
        let raw = &self.raw.controller;
        let queue = raw.queue.map(|n| self.source.check("controller.queue", n, 1..=64)).transpose()?;
        let key = "controller.default_refresh";
        let refresh = self.raw.refresh.as_ref();
        let given = |command: Option<&String>| command.is_some_and(|name| commands.iter().any(|c| c.name == *name));
        let has = match raw.default_refresh {
            None | Some(RefreshPolicy::Off) => true,
            Some(RefreshPolicy::AllBank) => given(refresh.map(|r| &r.command)),
            Some(RefreshPolicy::PerBank) => given(refresh.and_then(|r| r.bank_command.as_ref())),
            Some(RefreshPolicy::SameBank) => given(refresh.and_then(|r| r.same_bank_command.as_ref())),
            Some(RefreshPolicy::Device) => {
                let problem =
                    "is `device`, which is what it decides: write `all-bank`, `per-bank`, `same-bank` or `off`";
                return Err(self.source.error(key, problem));
            }
        };
        if !has {
            return Err(self.source.error(key, "names a refresh for which [refresh] gives no command"));
        }
        Ok(ControllerDefaults { map: raw.map.clone(), queue, refresh: raw.default_refresh })
    }

    /// A role's command must do what the role is for, at the level that the controller gives it at.
    fn check_roles(&self, levels: &[Level], commands: &[Command], roles: &Roles) -> Result<(), InputError> {
        let bank = (levels.len() - 1) as u8;
        let opens = if roles.activate_second.is_some() { Effect::OpenFirst } else { Effect::Open };
        let wanted = [
            ("activate", roles.activate, opens, true),
            ("precharge", roles.precharge, Effect::Close, true),
            ("precharge_all", roles.precharge_all, Effect::Close, false),
            ("read", roles.read, Effect::None, true),
            ("write", roles.write, Effect::None, true),
        ];
        for (field, id, effect, at_bank) in wanted {
            let command = &commands[id.0 as usize];
            let key = format!("controller.{field}");
            if command.effect != effect {
                let problem =
                    format!("is `{}`, whose effect is {:?}: must be {effect:?}", command.name, command.effect);
                return Err(self.source.error(&key, problem));
            }
            if at_bank != (command.scope.0 == bank) {
                let problem =
                    format!("is `{}`, which acts on a {}", command.name, levels[command.scope.0 as usize].name);
                return Err(self.source.error(&key, problem));
            }
        }
        Ok(())
    }
}
