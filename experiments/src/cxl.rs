//! Tokens of a decoder on a machine of CXL devices: the mapping's instructions run on the channels' engine, and units and links put around them.

use std::sync::Arc;

use banksia_hw::cxl::file::CommandUse;
use banksia_hw::cxl::token::token_cost;
use banksia_hw::cxl::{Accounting, BlockRun, CxlMachine, PimRun, TokenCost};
use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::{Instruction, IsaMachine, IsaSet};
use banksia_input::InputError;
use banksia_mappers::cent::{Mapping, Part, Rows, Shape, Split, Writer, write};

/// A machine whose channels are ready to run.
#[derive(Debug, Clone)]
pub struct CxlRunner {
    machine: CxlMachine,
    accounting: Accounting,
    device: Arc<Device>,
    set: IsaSet,
    uses: Vec<CommandUse>,
}

/// A mapping, and what is the same for every context.
#[derive(Debug, Clone)]
pub struct Prepared {
    mapping: Mapping,
    /// The channels when the token's keys are about to be appended, and the instructions until then.
    before: (IsaMachine, u64),
    partner: Option<PimRun>,
    embedding: PimRun,
}

impl CxlRunner {
    /// A machine, by one accounting. The artifact's has its own timing rows and no refresh.
    ///
    /// # Errors
    /// The machine's DRAM does not exist or has no instructions, or the machine names commands that it lacks.
    pub fn new(machine: CxlMachine, accounting: Accounting) -> Result<Self, InputError> {
        let name = match (accounting, &machine.channels.artifact_device) {
            (Accounting::Artifact, Some(name)) => name,
            _ => &machine.channels.device,
        };
        let device = catalog::load(name)?;
        let set = IsaSet::load(name, &device)?.with_channels(machine.channels.count);
        let uses = machine.uses(&device)?;
        Ok(Self { machine, accounting, device, set, uses })
    }

    /// The machine.
    pub fn machine(&self) -> &CxlMachine {
        &self.machine
    }

    /// A channel's DRAM.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    fn channels(&self) -> Result<IsaMachine, InputError> {
        Ok(IsaMachine::new(self.device.clone(), self.set.clone(), self.accounting == Accounting::Device)?.merging())
    }

    /// Runs parts of a mapping on some channels. The number of the device's own instructions: accesses are the host's, which come after them.
    fn run(&self, channels: &mut IsaMachine, mapping: &Mapping, parts: &[Part]) -> Result<u64, InputError> {
        let own_kinds = self.set.kind("host register").unwrap_or(usize::MAX);
        let mut own = 0;
        let mut take = |instruction: &Instruction| {
            own += u64::from(instruction.kind < own_kinds);
            channels.run(instruction);
        };
        let rows = Rows::of(&mapping.shape, &mapping.place);
        let mut writer = Writer::new(&self.set, mapping.place, &mut take)?;
        for part in parts {
            write(&mut writer, &mapping.place, &mapping.shape, &rows, *part);
        }
        Ok(own)
    }

    fn finished(&self, machine: IsaMachine, instructions: u64) -> PimRun {
        PimRun::new(&machine.finish(), &self.device, instructions)
    }

    /// A decoder on so many devices, with room for so many tokens.
    ///
    /// # Errors
    /// The model cannot be divided in this way.
    pub fn prepare(&self, shape: Shape, split: Split, context: u64) -> Result<Prepared, InputError> {
        let on = (&self.set, &*self.device);
        let mapping = Mapping::new(&self.machine, on, shape, split, (context, self.accounting))?;
        let mut before = self.channels()?;
        let instructions = self.run(&mut before, &mapping, &[Part::BeforeAttention])?;
        let partner = if mapping.split.tensor > 1 {
            let mut channels = self.channels()?;
            let instructions = self.run(&mut channels, &mapping, &[Part::Products, Part::End])?;
            Some(self.finished(channels, instructions))
        } else {
            None
        };
        let mut channels = self.channels()?;
        let embedded = self.run(&mut channels, &mapping, &[Part::Embedding, Part::End])?;
        let embedding = self.finished(channels, embedded);
        Ok(Prepared { mapping, before: (before, instructions), partner, embedding })
    }

    /// A token over a context, itself among it.
    ///
    /// # Errors
    /// The device lacks an instruction.
    pub fn token(&self, prepared: &Prepared, context: u64) -> Result<TokenCost, InputError> {
        let mapping = &prepared.mapping;
        let (mut channels, before) = prepared.before.clone();
        let parts = [Part::Attention(context), Part::AfterAttention, Part::End];
        let after = self.run(&mut channels, mapping, &parts)?;
        let run = BlockRun {
            main: self.finished(channels, before + after),
            partner: prepared.partner.clone(),
            embedding: prepared.embedding.clone(),
        };
        let work = mapping.work(context, self.accounting);
        Ok(token_cost(&self.machine, &self.device, &self.uses, &work, &run, self.accounting))
    }
}
