//! What a device offers against RowHammer, as its file writes it.

use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Refresh management (RFM), in which the controller counts activations of banks, and per-row activation counting (PRAC), in which
/// the device counts those of rows and asks for time. A device has the one, the other, or both.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRowHammer {
    /// The command that gives all banks of the all-bank refresh's scope time to refresh neighbours of rows that were opened often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfm_all: Option<String>,
    /// As `rfm_all`, of one bank (HBM), or of the same bank of every bank group (DDR5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfm_some: Option<String>,
    /// Activations of a bank after which it needs an RFM (RAAIMT), which takes as many off its count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raaimt: Option<u32>,
    /// Activations of a bank after which it takes none before an RFM or a refresh (RAAMMT): a number, or an expression of `raaimt`.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = ["integer", "string"]))]
    pub raammt: Option<String>,
    /// What a refresh of all banks takes off the count of each: a number, or an expression of `raaimt`.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = ["integer", "string"]))]
    pub ref_credit: Option<String>,
    /// What a refresh of one bank, or of the same bank of every bank group, takes off the counts of its banks; as `ref_credit` where
    /// absent.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = ["integer", "string"]))]
    pub ref_credit_some: Option<String>,
    /// Activations of a row at which the device raises its alert (N_BO).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prac_threshold: Option<u32>,
    /// RFMs of all banks that an alert asks for: 1, 2 or 4 (N_mit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prac_rfms: Option<u32>,
    /// How long the controller may go on after an alert, nanoseconds (tABOACT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prac_alert_ns: Option<f64>,
    /// Activations after these RFMs before the next alert can be raised; as many as `prac_rfms` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prac_delay_acts: Option<u32>,
}

impl RawRowHammer {
    /// This file's keys written over a base's.
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            rfm_all: self.rfm_all.or(base.rfm_all),
            rfm_some: self.rfm_some.or(base.rfm_some),
            raaimt: self.raaimt.or(base.raaimt),
            raammt: self.raammt.or(base.raammt),
            ref_credit: self.ref_credit.or(base.ref_credit),
            ref_credit_some: self.ref_credit_some.or(base.ref_credit_some),
            prac_threshold: self.prac_threshold.or(base.prac_threshold),
            prac_rfms: self.prac_rfms.or(base.prac_rfms),
            prac_alert_ns: self.prac_alert_ns.or(base.prac_alert_ns),
            prac_delay_acts: self.prac_delay_acts.or(base.prac_delay_acts),
        }
    }
}

/// A number, or a text that says how it is computed.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = String;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number of activations, or an expression such as \"6 * raaimt\"")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Count).map(Some)
}
