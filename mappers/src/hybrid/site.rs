//! Where in a machine the GPU and the PIM device are, and what lies between them.

use std::sync::Arc;

use banksia_hw::gpu::GpuSpec;
use banksia_hw::pim::PimMachine;
use banksia_hw::program::{InstructionId, ProgramBuilder, Work};
use banksia_hw::system::{Device, Machine};
use banksia_input::{InputError, Source};

/// A link, by the number that programs know it by.
#[derive(Debug, Clone, Copy)]
struct Between {
    number: u32,
    /// Its first end is the PIM device.
    back: bool,
}

/// The two devices of a machine.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) gpu: u32,
    pub(super) gpu_name: String,
    pub(super) spec: Arc<GpuSpec>,
    pub(super) pim_number: u32,
    pub(super) pim_name: String,
    pub(super) pim: Arc<PimMachine>,
    /// Both use the same memory.
    pub(super) shared: bool,
    /// They do so at once; otherwise one at a time.
    pub(super) at_once: bool,
    link: Option<Between>,
}

impl Site {
    /// Of a machine that is one GPU and one PIM device.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        let (mut gpu, mut pim) = (None, None);
        for (place, (name, device)) in machine.devices.iter().enumerate() {
            let taken = match device {
                Device::Gpu(spec) => gpu.replace((place, name, spec)).is_some(),
                Device::Pim(own) => pim.replace((place, name, own)).is_some(),
            };
            if taken {
                return None;
            }
        }
        let ((gpu, gpu_name, spec), (pim_number, pim_name, pim)) = (gpu?, pim?);
        let among = |devices: &[usize]| [gpu, pim_number].iter().all(|d| devices.contains(d));
        let at_once = among(&machine.shared);
        let shared = at_once || machine.exclusive.as_ref().is_some_and(|e| among(&e.devices));
        // Programs number links after devices.
        let number = |place: usize| u32::try_from(machine.devices.len() + place).ok();
        // In a memory that both use nothing moves over a link, even where there is one.
        let link = machine.link(gpu, pim_number).filter(|_| !shared);
        let link = link.and_then(|(place, back)| Some(Between { number: number(place)?, back }));
        Some(Self {
            gpu: u32::try_from(gpu).ok()?,
            gpu_name: gpu_name.clone(),
            spec: Arc::clone(spec),
            pim_number: u32::try_from(pim_number).ok()?,
            pim_name: pim_name.clone(),
            pim: Arc::clone(pim),
            shared,
            at_once,
            link,
        })
    }

    /// Both use the same memory, of which one has it at a time.
    pub(super) fn takes_turns(&self) -> bool {
        self.shared && !self.at_once
    }

    /// Data must get from one device to the other.
    pub(super) fn check(&self, machine: &Machine, source: &Source) -> Result<(), InputError> {
        if self.shared || self.link.is_some() {
            return Ok(());
        }
        let (gpu, pim) = (&self.gpu_name, &self.pim_name);
        let problem = format!("is `{}`, in which nothing joins {gpu} and {pim}", machine.name);
        let help = format!(
            "give it a [links.NAME] with between = [\"{gpu}\", \"{pim}\"], or name both in exclusive.devices or \
             shared.devices"
        );
        Err(source.error("machine.base", problem).help(help))
    }

    /// Whether a link joins the two.
    pub(super) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Adds a transfer to the PIM device, or back from it, of an operator; where both use the same memory, nothing. Returns what stands for
    /// it among the dependencies of others.
    pub(super) fn transfer(
        &self,
        builder: &mut ProgramBuilder,
        operator: &str,
        bytes: u64,
        from_pim: bool,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let Some(link) = self.link.filter(|_| bytes > 0) else { return after.to_vec() };
        builder.on(link.number);
        let operator = builder.operator(operator);
        builder.occurs(operator, 0.0, 0.0);
        vec![builder.push(operator, Work::Transfer { bytes, back: link.back != from_pim }, after)]
    }
}
