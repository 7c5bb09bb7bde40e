//! How a model is divided over devices, and what that asks of units and links.

use banksia_hw::cxl::{Accounting, CxlMachine, TokenWork, Traffic, UnitsWork};
use banksia_hw::dram::Device;
use banksia_hw::pim::IsaSet;
use banksia_input::InputError;

use super::place::{Conventions, Place, Rows};
use super::shape::Shape;

/// Stages and the devices of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Split {
    /// Devices of the machine.
    pub devices: u64,
    /// Stages: different tokens at once. As many as blocks: blocks lie side by side on channels of a device.
    pub pipeline: u64,
    /// Devices that share every matrix of a block.
    pub tensor: u64,
}

/// A model on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The model.
    pub shape: Shape,
    /// The division.
    pub split: Split,
    /// A block's device.
    pub place: Place,
}

/// Tokens for which the artifact keeps room, whatever the context.
const ARTIFACT_CONTEXT: u64 = 4096;

impl Mapping {
    /// A model on devices of a machine, with room for so many tokens.
    ///
    /// # Errors
    /// The division is not one of the model over the devices, or the banks have no room.
    pub fn new(
        machine: &CxlMachine,
        (set, device): (&IsaSet, &Device),
        shape: Shape,
        split: Split,
        (context, accounting): (u64, Accounting),
    ) -> Result<Self, InputError> {
        let fail = |key: &str, problem: String| InputError::new("mapping cent", problem).key(key);
        let Split { devices, pipeline, tensor } = split;
        let channels = u64::from(machine.channels.count);
        if devices == 0 || pipeline == 0 || tensor == 0 || shape.layers == 0 {
            return Err(fail("pipeline", "is 0, or the tensor parallelism or the devices are".into()));
        }
        let blocks_a_device = if pipeline == shape.layers && tensor == 1 {
            shape.layers.div_ceil(devices)
        } else if pipeline * tensor == devices {
            1
        } else {
            let problem = format!("of {pipeline} stages of {tensor} devices is not one of {devices} devices");
            return Err(fail("pipeline", problem)
                .help(format!("stages times devices of each must be {devices}; or {} stages of 1", shape.layers)));
        };
        let block_channels = channels / blocks_a_device;
        if block_channels == 0 {
            return Err(fail("devices", format!("leaves {blocks_a_device} blocks a device of {channels} channels")));
        }
        let artifact = accounting == Accounting::Artifact;
        let room = if artifact { ARTIFACT_CONTEXT } else { context };
        let place = Place {
            conventions: if artifact { Conventions::ARTIFACT } else { Conventions::DEVICE },
            ..Place::new(
                &set.clone().with_channels(machine.channels.count),
                u64::from(device.banks),
                block_channels,
                tensor,
                room,
            )
        };
        let mapping = Self { shape, split, place };
        if !artifact {
            mapping.check(u64::from(device.rows))?;
        }
        Ok(mapping)
    }

    /// The shapes that the lay-out can hold, and room for them.
    fn check(&self, rows: u64) -> Result<(), InputError> {
        let fail = |problem: String| InputError::new("mapping cent", problem).key("model");
        let Place { row_elements, banks, .. } = self.place;
        let head = self.shape.head_dim;
        if head == 0 || !head.is_multiple_of(banks) || !row_elements.is_multiple_of(head) {
            return Err(fail(format!(
                "has heads of {head} elements: rows of {row_elements} must hold whole heads, of a multiple of {banks} elements"
            )));
        }
        if !(head * self.shape.kv_heads).is_multiple_of(row_elements) {
            return Err(fail(format!("has keys of {} elements, which are no whole rows", head * self.shape.kv_heads)));
        }
        let blocks = if self.place.blocks() > 1 { 1 } else { self.shape.layers.div_ceil(self.split.pipeline) };
        let need = Rows::of(&self.shape, &self.place).end * blocks;
        if need > rows {
            return Err(fail(format!("needs {need} rows of every bank, which has {rows}"))
                .help("use more devices, more devices a stage, or a shorter context"));
        }
        Ok(())
    }

    /// Blocks that are at once on a device, each with a token of its own.
    pub fn blocks_a_device(&self) -> u64 {
        if self.split.pipeline == self.shape.layers { self.shape.layers.div_ceil(self.split.devices) } else { 1 }
    }

    /// What a token over a context asks of units and links.
    pub fn work(&self, context: u64, accounting: Accounting) -> TokenWork {
        let shape = &self.shape;
        let blocks_a_device = self.blocks_a_device();
        let side_by_side = self.split.pipeline == shape.layers;
        let used_devices = if side_by_side { shape.layers.div_ceil(blocks_a_device) } else { self.split.devices };
        let width = shape.width;
        let keys = shape.kv_heads * shape.head_dim;
        let none = Vec::new;
        let traffic = match (side_by_side, accounting) {
            // The artifact lets every block send its result, even to the next on its own device.
            (true, Accounting::Device) => Traffic { devices: 1, broadcasts: none(), gathers: none(), passed: none() },
            (true, Accounting::Artifact) => {
                Traffic { devices: 1, broadcasts: none(), gathers: none(), passed: vec![width] }
            }
            // The artifact's count: keys and values as wide as queries, one inner state of the two, and no vector to the next stage.
            (false, Accounting::Artifact) => Traffic {
                devices: self.split.tensor,
                broadcasts: vec![width, width, width, width, width, shape.ffn_width],
                gathers: vec![width, width, width, width, width, shape.ffn_width],
                passed: none(),
            },
            // The input of queries, keys and values; of the output; of the feed-forward layer's two matrices; and of its last. What each gives.
            (false, Accounting::Device) => Traffic {
                devices: self.split.tensor,
                broadcasts: vec![width, width, width, shape.ffn_width],
                gathers: vec![shape.heads * shape.head_dim, keys, keys, width, shape.ffn_width, shape.ffn_width, width],
                passed: none(),
            },
        };
        TokenWork {
            layers: shape.layers,
            devices: self.split.devices,
            used_devices,
            stages: self.split.pipeline,
            blocks_a_device,
            // From the host to the first stage, and from each to the next.
            hops: accounting.either(0, if side_by_side { used_devices } else { self.split.pipeline }),
            hop_elements: width,
            units: UnitsWork {
                norms: 2,
                partial_sums: width / self.place.column_elements,
                scores: context * shape.heads,
                heads: shape.heads,
                rotated: width + width / shape.queries_per_kv(),
                column_elements: self.place.column_elements,
            },
            traffic,
        }
    }
}
