//! What operators have made, and which device has it.

use banksia_hw::program::{InstructionId, ProgramBuilder};

use super::place::On;
use super::site::Site;

/// What one device has of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    pub(super) bytes: u64,
    pub(super) ready: Vec<InstructionId>,
}

/// An operator's result: with the GPU, with the PIM device, or some rows with each.
#[derive(Debug, Clone, Default)]
pub(super) struct Value {
    gpu: Option<Piece>,
    pim: Option<Piece>,
    /// What has been sent over: to which device, which of its tensors.
    sent: Vec<(On, String, Vec<InstructionId>)>,
}

impl Value {
    /// A value that one device has.
    pub(super) fn on(device: On, bytes: u64, ready: Vec<InstructionId>) -> Self {
        let piece = Some(Piece { bytes, ready });
        match device {
            On::Gpu => Self { gpu: piece, ..Self::default() },
            On::Pim => Self { pim: piece, ..Self::default() },
        }
    }

    /// A value of whose rows each device has some.
    pub(super) fn split(gpu: Piece, pim: Piece) -> Self {
        Self { gpu: Some(gpu), pim: Some(pim), sent: Vec::new() }
    }

    fn piece(&self, device: On) -> Option<&Piece> {
        match device {
            On::Gpu => self.gpu.as_ref(),
            On::Pim => self.pim.as_ref(),
        }
    }

    fn is_split(&self) -> bool {
        self.gpu.is_some() && self.pim.is_some()
    }
}

/// A tensor that an operator reads.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The value that it is, or is a part of, among a chain's.
    pub(super) value: usize,
    /// Its name.
    pub(super) tensor: String,
    /// Its bytes.
    pub(super) bytes: u64,
}

/// The other device.
fn other(device: On) -> On {
    match device {
        On::Gpu => On::Pim,
        On::Pim => On::Gpu,
    }
}

/// Brings what an operator reads to its device: all in one transfer that is not there yet. `rows` is the share of rows that the device has, of an
/// operator that is split. Returns what all of it is there after.
pub(super) fn bring(
    values: &mut [Value],
    wanted: &[Wanted],
    device: On,
    rows: Option<f64>,
    operator: &str,
    site: &Site,
    builder: &mut ProgramBuilder,
) -> Vec<InstructionId> {
    let (mut here, mut there, mut bytes, mut sent) = (Vec::new(), Vec::new(), 0u64, Vec::new());
    for tensor in wanted {
        let Some(value) = values.get(tensor.value) else { continue };
        here.extend(value.piece(device).into_iter().flat_map(|p| p.ready.iter().copied()));
        // Rows of experts stay where they are from one of their products to the next.
        if rows.is_some() && value.is_split() {
            continue;
        }
        let Some(piece) = value.piece(other(device)) else { continue };
        if let Some((.., ready)) = value.sent.iter().find(|(to, name, _)| *to == device && *name == tensor.tensor) {
            here.extend(ready.iter().copied());
            continue;
        }
        let all = piece.bytes.saturating_add(value.piece(device).map_or(0, |p| p.bytes));
        let share = piece.bytes as f64 / all.max(1) as f64 * rows.unwrap_or(1.0);
        bytes = bytes.saturating_add((tensor.bytes as f64 * share).ceil() as u64);
        there.extend(piece.ready.iter().copied());
        sent.push((tensor.value, tensor.tensor.clone()));
    }
    if !sent.is_empty() {
        there.sort_unstable();
        there.dedup();
        let arrived = site.transfer(builder, operator, bytes, device == On::Gpu, &there);
        for (value, name) in sent {
            if let Some(value) = values.get_mut(value) {
                value.sent.push((device, name, arrived.clone()));
            }
        }
        here.extend(arrived);
    }
    here.sort_unstable();
    here.dedup();
    here
}
