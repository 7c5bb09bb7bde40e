//! What a plan claims that the program of a step does.

use std::collections::HashMap;

use super::place::Region;

/// What one operator, or several whose instructions are mixed, have to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The operator, with its layer.
    pub name: String,
    /// Under which names its instructions stand in the program.
    pub labels: Vec<String>,
    /// Groups whose values it uses, by their place.
    pub after: Vec<usize>,
    /// All that a device runs is its, whatever the name.
    pub any_on: Option<u32>,
    /// It has instructions.
    pub required: bool,
    /// So many, where that is known: those after them are another's, whatever the name.
    pub instructions: Option<u64>,
    /// Sums that the vector unit adds for it, at least, by the name of the operator: those of parts of vectors, and biases.
    pub adds: Vec<(String, u64)>,
    /// Its products depend on one another: scores, softmax, values.
    pub attention: bool,
    /// Bytes of its result until the last that uses it is done; 0 for what is never held as a whole.
    pub live_bytes: u64,
    /// Its result takes the place of what it uses, where nothing else does.
    pub in_place: bool,
}

/// What lies in the banks of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InBanks {
    /// The device's number in programs.
    pub device: u32,
    /// Its name.
    pub name: String,
    /// Tensors.
    pub regions: Vec<Region>,
    /// Which region begins on a channel, at a row.
    at: HashMap<(u32, u64), usize>,
    /// The number of each tensor's name, and the first that is free.
    numbers: HashMap<String, u32>,
    next: u32,
}

/// What lies in a GPU's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnGpu {
    /// The device's number in programs.
    pub device: u32,
    /// Its name.
    pub name: String,
    /// Buffers that are there before the step: weights, caches, states, inputs.
    pub resident: Vec<String>,
    /// Buffers that other devices write in it; that kernels which read them wait is in the order of the groups.
    pub delivered: Vec<String>,
    /// Buffers that the first layer reads as the others do, though nothing comes before it: it is taken for one like them.
    pub alike: Vec<String>,
    /// Bytes that the plan keeps: weights, keys and values, activations.
    pub footprint_bytes: u64,
    /// Bytes of its memory.
    pub capacity_bytes: u64,
}

/// The most bytes of results that are alive at once, and the group at which they are, of groups that run one after the other.
pub(crate) fn most_alive(groups: &[Group], runs: impl Fn(usize) -> bool) -> (u64, Option<usize>) {
    let mut last = vec![0; groups.len()];
    for (g, group) in groups.iter().enumerate() {
        group.after.iter().for_each(|a| last[*a] = g);
    }
    let mut most = (0u64, None);
    let mut live: Vec<usize> = Vec::new();
    for g in (0..groups.len()).filter(|g| runs(*g)) {
        let sum = |ends: bool| {
            let of = live.iter().filter(|l| (last[**l] <= g) == ends);
            of.fold(0u64, |sum, l| sum.saturating_add(groups[*l].live_bytes))
        };
        let (ending, own) = (sum(true), groups[g].live_bytes);
        let now = if groups[g].in_place { ending.max(own) } else { ending.saturating_add(own) };
        let bytes = sum(false).saturating_add(now);
        live.push(g);
        if bytes > most.0 {
            most = (bytes, Some(g));
        }
        live.retain(|l| last[*l] > g);
    }
    most
}

impl InBanks {
    /// Of a device, empty.
    pub(crate) fn new(device: u32, name: &str) -> Self {
        Self { device, name: name.to_owned(), ..Self::default() }
    }

    /// Puts a region among the others, or counts it once more where it is there: how often it is multiplied, and by whom.
    pub(crate) fn add(&mut self, region: Region) {
        let place = (region.channels.first().copied().unwrap_or(0), region.first_row);
        let there = self.at.get(&place).and_then(|at| self.regions.get_mut(*at));
        match there.filter(|r| r.tensor == region.tensor) {
            Some(there) => {
                there.times += region.times;
                there.groups.extend(region.groups);
                if let (Some((_, n)), Some((_, more))) = (&mut there.looked_up, region.looked_up) {
                    *n += more;
                } else {
                    there.looked_up = there.looked_up.or(region.looked_up);
                }
            }
            None => {
                self.at.insert(place, self.regions.len());
                self.regions.push(region);
            }
        }
    }

    /// A number for a tensor that has none yet, and for the one after it: keys have even ones, and their values the next.
    pub(crate) fn new_tensor(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// The number of the tensor of a name.
    pub(crate) fn tensor(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.new_tensor();
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// What a plan claims of the program of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Operators, in the order of the program.
    pub groups: Vec<Group>,
    /// Devices with units in their banks.
    pub banks: Vec<InBanks>,
    /// GPUs.
    pub gpus: Vec<OnGpu>,
    /// Bytes over links, by the name of the transfers, where the plan says them.
    pub links: Vec<(String, u64)>,
}
