//! What a device's file says against RowHammer, resolved.

use banksia_input::InputError;

use super::Cycle;
use super::device::{Command, CommandId, Compiler, Effect, Level, RefreshManagement, Roles, RowCounting, RowHammer};
use super::expr::{Symbols, evaluate_integer};

/// The most activations that a threshold may name.
const MOST: i64 = 1 << 20;

impl Compiler<'_> {
    /// `[row_hammer]`, or `None` where the file has none.
    pub(super) fn row_hammer(
        &self,
        levels: &[Level],
        commands: &[Command],
        roles: Option<&Roles>,
    ) -> Result<Option<RowHammer>, InputError> {
        let Some(raw) = &self.raw.row_hammer else { return Ok(None) };
        let src = self.source;
        let find = |key: &str, name: &str| -> Result<CommandId, InputError> {
            let key = format!("row_hammer.{key}");
            let at = commands
                .iter()
                .position(|c| c.name == name)
                .ok_or_else(|| src.unknown_name(&key, "command", name, commands.iter().map(|c| c.name.as_str())))?;
            if commands[at].effect != Effect::Refresh {
                return Err(src.error(&key, format!("`{name}` does not refresh")));
            }
            let refreshes = self.raw.refresh.iter().flat_map(|r| {
                [Some(&r.command), r.bank_command.as_ref(), r.same_bank_command.as_ref()].into_iter().flatten()
            });
            if refreshes.into_iter().any(|refresh| refresh == name) {
                let problem = format!("is `{name}`, the refresh itself: an RFM is a command of its own");
                return Err(src.error(&key, problem));
            }
            Ok(CommandId(at as u8))
        };
        let Some(all) = &raw.rfm_all else {
            let help = "name the command that manages all banks, as `rfm_all = \"RFMab\"`";
            return Err(src.error("row_hammer.rfm_all", "is missing, here and in the base").help(help));
        };
        let all = find("rfm_all", all)?;
        let some = raw.rfm_some.as_ref().map(|name| find("rfm_some", name)).transpose()?;
        let banks = |id: CommandId| levels[commands[id.0 as usize].scope.0 as usize].banks;
        if let Some(roles) = roles
            && banks(all) != banks(roles.precharge_all)
        {
            let close = &commands[roles.precharge_all.0 as usize].name;
            let problem = format!("acts on {} banks, and {close} closes {}", banks(all), banks(roles.precharge_all));
            return Err(src.error("row_hammer.rfm_all", problem));
        }
        if let Some(some) = some.filter(|some| banks(*some) != 1) {
            let problem = format!("acts on {} banks of a bank group: must be of scope `bank`", banks(some));
            return Err(src.error("row_hammer.rfm_some", problem));
        }
        Ok(Some(RowHammer { all, some, management: self.management()?, counting: self.counting()? }))
    }

    fn management(&self) -> Result<Option<RefreshManagement>, InputError> {
        let (Some(raw), src) = (&self.raw.row_hammer, self.source) else { return Ok(None) };
        let Some(initial) = raw.raaimt else {
            if let Some((key, _)) =
                [("raammt", &raw.raammt), ("ref_credit", &raw.ref_credit), ("ref_credit_some", &raw.ref_credit_some)]
                    .iter()
                    .find(|(_, text)| text.is_some())
            {
                return Err(src.error("row_hammer.raaimt", format!("is missing beside `{key}`")));
            }
            return Ok(None);
        };
        let initial = src.check("row_hammer.raaimt", initial, 1..=MOST as u32)?;
        let symbols: Symbols = std::iter::once(("raaimt".to_owned(), f64::from(initial))).collect();
        let value = |key: &str, text: &Option<String>, usual: u32, least: u32| -> Result<u32, InputError> {
            let Some(text) = text else { return Ok(usual) };
            let key = format!("row_hammer.{key}");
            let value = evaluate_integer(text, &symbols).map_err(|p| src.error(&key, p))?;
            Ok(src.check(&key, value, i64::from(least)..=MOST * 8)? as u32)
        };
        // A bank that has reached the first threshold must be able to go on to the RFM.
        let maximum = value("raammt", &raw.raammt, initial.saturating_mul(3), initial)?;
        let credit = value("ref_credit", &raw.ref_credit, initial, 0)?;
        let credit_some = value("ref_credit_some", &raw.ref_credit_some, credit, 0)?;
        Ok(Some(RefreshManagement { initial, maximum, credit, credit_some }))
    }

    fn counting(&self) -> Result<Option<RowCounting>, InputError> {
        let (Some(raw), src) = (&self.raw.row_hammer, self.source) else { return Ok(None) };
        let Some(threshold) = raw.prac_threshold else {
            let beside = [
                ("prac_rfms", raw.prac_rfms.is_some()),
                ("prac_alert_ns", raw.prac_alert_ns.is_some()),
                ("prac_delay_acts", raw.prac_delay_acts.is_some()),
            ];
            return match beside.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(src.error("row_hammer.prac_threshold", format!("is missing beside `{key}`"))),
                None => Ok(None),
            };
        };
        // Counters are of sixteen bits.
        let threshold = src.check("row_hammer.prac_threshold", threshold, 1..=32_768)?;
        let rfms = src.check("row_hammer.prac_rfms", raw.prac_rfms.unwrap_or(1), 1..=16)?;
        let ns = src.check("row_hammer.prac_alert_ns", raw.prac_alert_ns.unwrap_or(180.0), 0.0..=1e6)?;
        let alert = self.ticks("row_hammer.prac_alert_ns", &format!("floor({ns} * 1000 / clock_ps)"), 1_000_000_000)?;
        let delay = src.check("row_hammer.prac_delay_acts", raw.prac_delay_acts.unwrap_or(rfms), 0..=1024)?;
        Ok(Some(RowCounting { threshold, rfms, alert: alert as Cycle, delay }))
    }
}
