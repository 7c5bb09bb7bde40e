//! What comes before what in a program: dependencies, and the order in which a device takes its instructions.

use banksia_hw::program::{Program, Work};

/// The order of a program's instructions.
#[derive(Debug)]
pub(super) struct Order<'a> {
    program: &'a Program,
    /// Of each instruction, those before it on its channels, blocks or stream.
    on_device: Vec<Vec<u32>>,
    seen: Vec<u32>,
    stamp: u32,
}

impl<'a> Order<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        let mut on_device = vec![Vec::new(); program.instructions.len()];
        // By device and channel; blocks and kernels of a device are one after the other.
        let mut last: std::collections::HashMap<(u32, u32), u32> = std::collections::HashMap::new();
        for (i, instruction) in program.instructions.iter().enumerate() {
            let mut before = |lane: u32, list: &mut Vec<u32>| {
                if let Some(earlier) = last.insert((instruction.on, lane), i as u32)
                    && !list.contains(&earlier)
                {
                    list.push(earlier);
                }
            };
            match instruction.work {
                Work::Pim { channels, .. } => {
                    for channel in program.channel_sets[channels as usize].iter() {
                        before(channel, &mut on_device[i]);
                    }
                }
                Work::Block { .. } | Work::Kernel { .. } => before(0, &mut on_device[i]),
                Work::Collective { lane, .. } => before(lane, &mut on_device[i]),
                Work::Vector { .. } | Work::Transfer { .. } => {}
            }
        }
        Self { program, on_device, seen: vec![0; program.instructions.len()], stamp: 0 }
    }

    /// What comes right before an instruction.
    pub(super) fn before(&self, instruction: usize) -> impl Iterator<Item = usize> + '_ {
        let explicit = self.program.dependencies_of(instruction).iter();
        explicit.chain(&self.on_device[instruction]).map(|i| *i as usize)
    }

    /// The first of some instructions that an instruction does not come after.
    pub(super) fn not_after(&mut self, instruction: usize, needed: &[usize]) -> Option<usize> {
        let lowest = needed.iter().copied().min()?;
        self.stamp += 1;
        let mut stack = vec![instruction];
        while let Some(at) = stack.pop() {
            let explicit = self.program.dependencies_of(at).iter();
            for before in explicit.chain(&self.on_device[at]).map(|i| *i as usize) {
                if before >= lowest && self.seen[before] != self.stamp {
                    self.seen[before] = self.stamp;
                    stack.push(before);
                }
            }
        }
        needed.iter().copied().find(|n| self.seen[*n] != self.stamp)
    }
}
