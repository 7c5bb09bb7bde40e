//! Links: flits of a vector, and the time of what devices send one another for a token.

use super::accounting::Accounting;
use super::file::Link;

/// Bytes of an element.
pub const ELEMENT_BYTES: u64 = 2;

/// What a device and those that share its block send one another for one token.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Devices that share the block.
    pub devices: u64,
    /// Elements of each vector that one device sends to all of them.
    pub broadcasts: Vec<u64>,
    /// Elements of each vector whose parts one device takes from all the others.
    pub gathers: Vec<u64>,
    /// Elements of each vector that goes to the next device.
    pub passed: Vec<u64>,
}

impl Link {
    /// Bytes per second of a device's link.
    ///
    /// The artifact counts a lane's gigabytes by 2^30 and gives every transfer the rate of a multicast.
    pub fn rate_bytes_per_s(&self, all_devices: u64, multicast: bool, accounting: Accounting) -> f64 {
        let lanes = u64::from(self.lanes) / all_devices.max(1);
        let share = if multicast || accounting == Accounting::Artifact { self.multicast_share } else { 1.0 };
        let giga = accounting.either(f64::from(1 << 30), 1e9);
        lanes.max(1) as f64 * self.gb_per_s_per_lane * giga * share
    }

    /// A request out and its answer back: two ports and a wire at each side of the switch.
    fn latency_s(&self) -> f64 {
        (4.0 * self.port_latency_ns + 2.0 * self.wire_latency_ns + self.switch_latency_ns) * 1e-9
    }

    /// Flits of a vector.
    pub fn flits(&self, bytes: f64) -> f64 {
        let payload = f64::from(self.message_bytes) * f64::from(self.messages_per_flit);
        (bytes / payload).ceil()
    }

    /// Seconds of the traffic of one block, one thing after another.
    ///
    /// The artifact lets a device that shares its block with none send all the same.
    pub fn seconds(&self, traffic: &Traffic, all_devices: u64, accounting: Accounting) -> f64 {
        let seconds = |flits: f64, multicast: bool| {
            let rate = self.rate_bytes_per_s(all_devices, multicast, accounting);
            self.latency_s() + flits * f64::from(self.flit_bytes) / rate
        };
        let passed: f64 = traffic.passed.iter().map(|n| seconds(self.flits((n * ELEMENT_BYTES) as f64), false)).sum();
        if traffic.devices == 1 && accounting == Accounting::Device {
            return passed;
        }
        let broadcasts: f64 =
            traffic.broadcasts.iter().map(|n| seconds(self.flits((n * ELEMENT_BYTES) as f64), true)).sum();
        let devices = traffic.devices as f64;
        let gathers: f64 = traffic
            .gathers
            .iter()
            .map(|n| {
                let part = *n as f64 / devices * ELEMENT_BYTES as f64;
                seconds(self.flits(part) * (devices - 1.0), false)
            })
            .sum();
        broadcasts + gathers + passed
    }

    /// Joules of the traffic of one block.
    ///
    /// The artifact takes a vector's elements for its bits, and every vector once.
    pub fn joules(&self, traffic: &Traffic, accounting: Accounting) -> f64 {
        let all = |vectors: &[u64]| vectors.iter().sum::<u64>() as f64;
        let elements = match accounting {
            Accounting::Artifact => all(&traffic.broadcasts) + all(&traffic.gathers) + all(&traffic.passed),
            Accounting::Device => {
                // A multicast goes up once and down to every other; of a gathered vector all parts but one's own go up and down.
                let devices = traffic.devices as f64;
                let broadcast = if traffic.devices > 1 { devices } else { 0.0 };
                let gathered = 2.0 * (devices - 1.0) / devices;
                all(&traffic.broadcasts) * broadcast + all(&traffic.gathers) * gathered + all(&traffic.passed) * 2.0
            }
        };
        let bits = accounting.either(1.0, 8.0 * ELEMENT_BYTES as f64);
        elements * bits * self.energy_pj_per_bit * 1e-12
    }
}
