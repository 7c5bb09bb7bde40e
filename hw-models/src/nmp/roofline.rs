//! Matrix products on an NPU, beside the banks, or on both.

use super::file::NmpMachine;

/// Bytes of an element.
const ELEMENT_BYTES: f64 = 2.0;

/// Products of one shape: `rows x inputs` times `inputs x outputs`, the second of which lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// How many, each with its own matrix.
    pub count: u64,
    /// Rows of the first.
    pub rows: u64,
    /// Columns of the second.
    pub outputs: u64,
    /// What is summed over.
    pub inputs: u64,
}

/// Where a product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// On the NPU, from so many channels.
    Npu {
        /// The channels that its matrix lies in.
        channels: u32,
    },
    /// Beside the banks of the near-memory channels.
    NearMemory,
    /// Its outputs are divided between both.
    Both,
}

/// A product and its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The product.
    pub product: Product,
    /// The site.
    pub site: Site,
}

/// How times are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rules {
    /// As H2-LLM's artifact does (leesou/H2-LLM-ISCA-2025, commit c5708b5): transfers of near-memory operands are counted by 2^30 bytes, and a divided product
    /// gives the NPU the share `r / (r + 1)` for `r` the whole part of how much faster a bank of the near-memory channels is fed than the NPU from the others;
    /// the NPU reads its part from all channels, the ones beside whose banks the rest is multiplied among them; results are not written.
    Artifact,
    /// A gigabyte is 10^9 bytes; a divided product ends at both sites at once, and the NPU's part lies in the other channels; results are written.
    #[default]
    Machine,
}

impl NmpMachine {
    /// Seconds of a job.
    pub fn seconds(&self, job: &Job, rules: Rules) -> f64 {
        match job.site {
            Site::Npu { channels } => self.npu_seconds(&job.product, channels, rules),
            Site::NearMemory => self.near_seconds(&job.product, rules),
            Site::Both => self.divided_seconds(&job.product, rules),
        }
    }

    /// On the NPU.
    fn npu_seconds(&self, p: &Product, channels: u32, rules: Rules) -> f64 {
        let macs = p.count as f64 * p.rows as f64 * p.outputs as f64 * p.inputs as f64;
        let (rows, outputs, inputs) = (p.rows as f64, p.outputs as f64, p.inputs as f64);
        let results = match rules {
            Rules::Artifact => 0.0,
            Rules::Machine => rows * outputs,
        };
        let bytes = p.count as f64 * ELEMENT_BYTES * (rows * inputs + inputs * outputs + results);
        let rate = f64::from(channels) * self.channels.bandwidth_gb_per_s * 1e9 * self.npu.bandwidth_share;
        (macs / (self.npu.tmac_per_s * 1e12 * self.npu.compute_share)).max(bytes / rate)
    }

    /// Beside the banks: operands go to the channels over their pins, are multiplied with what lies there, and results come back.
    fn near_seconds(&self, p: &Product, rules: Rules) -> f64 {
        let channels = u64::from(self.channels.near_memory).max(1);
        // Channels of each product, and products that one channel does in turn.
        let (each, turns) = if p.count > channels {
            (1, p.count.div_ceil(channels))
        } else {
            let groups = gcd(p.count.max(1), channels);
            (channels / groups, p.count / groups)
        };
        // Both sides of a channel's part come from its pins: the parts are as square as channels can be divided.
        let ideal = (p.inputs as f64 * each as f64 / p.outputs as f64).sqrt();
        let by_inputs = nearest_divisor(each, ideal);
        let (inputs, outputs) = (p.inputs.div_ceil(by_inputs) as f64, p.outputs.div_ceil(each / by_inputs) as f64);
        let rows = p.rows as f64;
        let giga = match rules {
            Rules::Artifact => f64::from(1 << 30),
            Rules::Machine => 1e9,
        };
        let transfer = ELEMENT_BYTES * rows * (inputs + outputs) / (self.channels.bandwidth_gb_per_s * giga);
        let processor = &self.processor;
        let banks = f64::from(processor.banks);
        let macs_per_s = f64::from(processor.units) * f64::from(processor.lanes) * processor.clock_mhz * 1e6 * banks;
        let fed = ELEMENT_BYTES * (rows * inputs + inputs * outputs) / (processor.bandwidth_gb_per_s * 1e9 * banks);
        (transfer + (rows * inputs * outputs / macs_per_s).max(fed)) * turns as f64
    }

    /// Outputs divided between both sites, which work at once.
    fn divided_seconds(&self, p: &Product, rules: Rules) -> f64 {
        let normal = self.channels.count - self.channels.near_memory;
        let part = |outputs: u64| Product { outputs, ..*p };
        match rules {
            Rules::Artifact => {
                let pins = f64::from(normal) * self.channels.bandwidth_gb_per_s;
                let ratio = (f64::from(self.channels.near_memory) * self.processor.bandwidth_gb_per_s / pins).floor();
                let outputs = |share: f64| (p.outputs as f64 * share).ceil() as u64;
                let npu = self.npu_seconds(&part(outputs(ratio / (ratio + 1.0))), self.channels.count, rules);
                npu.max(self.near_seconds(&part(outputs(1.0 / (ratio + 1.0))), rules))
            }
            Rules::Machine => {
                let both = |npu: u64| {
                    let on_npu = if npu == 0 { 0.0 } else { self.npu_seconds(&part(npu), normal, rules) };
                    let near = if npu == p.outputs { 0.0 } else { self.near_seconds(&part(p.outputs - npu), rules) };
                    (on_npu, near)
                };
                if normal == 0 || self.channels.near_memory == 0 {
                    let (on_npu, near) = both(if normal == 0 { 0 } else { p.outputs });
                    return on_npu.max(near);
                }
                // The NPU's time grows with its part and the banks' shrinks but for how parts divide: the crossing, and what is beside it.
                let (mut low, mut high) = (0, p.outputs);
                while low + 1 < high {
                    let middle = low + (high - low) / 2;
                    let (on_npu, near) = both(middle);
                    if on_npu < near { low = middle } else { high = middle }
                }
                let time = |npu| {
                    let (on_npu, near) = both(npu);
                    on_npu.max(near)
                };
                time(low).min(time(high))
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The divisor of a number nearest to a value; the smaller of two that are as near.
fn nearest_divisor(number: u64, value: f64) -> u64 {
    let mut best = 1;
    for divisor in (2..=number).filter(|d| number.is_multiple_of(*d)) {
        if (divisor as f64 - value).abs() < (best as f64 - value).abs() {
            best = divisor;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two elements a second in every respect, so that times can be said by hand.
    fn machine() -> NmpMachine {
        let text = "name = \"m\"\n[npu]\ntmac_per_s = 1e-6\ncompute_share = 1.0\nbandwidth_share = 0.5\n[channels]\ncount = 4\n\
             near_memory = 2\nbandwidth_gb_per_s = 1e-3\n[processor]\nbanks = 2\nunits = 1\nlanes = 1\nclock_mhz = 1.0\n\
             bandwidth_gb_per_s = 1e-3\n";
        NmpMachine::read(&banksia_input::Source::from_text("m", text)).unwrap()
    }

    #[test]
    fn an_npu_is_bound_by_what_is_slower() {
        let m = machine();
        let p = Product { count: 3, rows: 1, outputs: 100, inputs: 100 };
        // 1e6 multiply-accumulates a second; 2e6 bytes a second from four channels.
        let seconds = m.seconds(&Job { product: p, site: Site::Npu { channels: 4 } }, Rules::Artifact);
        assert!((seconds - (3.0 * 1e4 / 1e6_f64).max(3.0 * 2.0 * 10_100.0 / 2e6)).abs() < 1e-12, "{seconds}");
        let wide = Product { rows: 100, ..p };
        let seconds = m.seconds(&Job { product: wide, site: Site::Npu { channels: 4 } }, Rules::Artifact);
        assert!((seconds - 3.0).abs() < 1e-12, "{seconds}");
    }

    #[test]
    fn a_divided_product_is_no_slower_than_at_either_site() {
        let m = NmpMachine::load("h2-llm").unwrap();
        for rows in [1, 4, 16, 64, 512] {
            let product = Product { count: 1, rows, outputs: 14336, inputs: 4096 };
            let at = |site| m.seconds(&Job { product, site }, Rules::Machine);
            let (both, near) = (at(Site::Both), at(Site::NearMemory));
            let npu = at(Site::Npu { channels: m.channels.count - m.channels.near_memory });
            assert!(both <= near.min(npu) * (1.0 + 1e-12), "{rows}: {both} {near} {npu}");
        }
    }

    #[test]
    fn divisors() {
        assert_eq!(nearest_divisor(6, 2.4), 2);
        assert_eq!(nearest_divisor(6, 2.5), 2);
        assert_eq!(nearest_divisor(6, 100.0), 6);
        assert_eq!(nearest_divisor(1, 0.0), 1);
    }
}
