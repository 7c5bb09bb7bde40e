//! Which layers see a window of the context only.

use banksia_input::InputError;

use super::build::{block, runs};
use super::reader::Reader;
use crate::model::{Block, Layers, Model, Stage};

/// The name of layers that see everything before.
pub(super) const FULL: &str = "full";
/// The name of layers that see a window.
pub(super) const SLIDING: &str = "sliding";

/// What layers see.
pub(super) struct Windows {
    /// Tokens that the layers with a window see; 0 where the window binds no context.
    pub(super) window: u64,
    /// Whether each layer has it.
    pub(super) sliding: Vec<bool>,
}

impl Windows {
    /// Reads `layer_types`, or else takes a rule of the layer's number; `window` is 0 for none.
    pub(super) fn read(
        reader: &Reader<'_>,
        layers: u32,
        window: u64,
        positions: u64,
        rule: impl Fn(u32) -> bool,
    ) -> Result<Self, InputError> {
        let sliding = match reader.texts("layer_types")? {
            None => (0..layers).map(rule).collect(),
            Some(kinds) => {
                reader.one_a_layer("layer_types", kinds.len(), layers)?;
                kinds
                    .into_iter()
                    .map(|kind| match kind {
                        "full_attention" => Ok(false),
                        "sliding_attention" => Ok(true),
                        other => {
                            let error = reader.error("layer_types", format!("has `{other}`, which is not known"));
                            Err(error.help("known: full_attention, sliding_attention"))
                        }
                    })
                    .collect::<Result<Vec<_>, _>>()?
            }
        };
        // A window as long as the longest context hides nothing.
        let window = if window >= positions { 0 } else { window };
        Ok(Self { window, sliding })
    }

    /// Blocks and pattern; `stages` makes a layer that sees so many tokens (0 for all), and is a sliding one or not.
    pub(super) fn layers(
        &self,
        stages: impl Fn(u64, bool) -> Result<Vec<Stage>, InputError>,
    ) -> Result<(Vec<Block>, Vec<Layers>), InputError> {
        let of = |sliding: bool| stages(if sliding { self.window } else { 0 }, sliding);
        let mut blocks = Vec::new();
        let (full, sliding) = (of(false)?, of(true)?);
        if full == sliding || !self.sliding.contains(&true) || !self.sliding.contains(&false) {
            let only = if self.sliding.contains(&true) { sliding } else { full };
            blocks.push(block(super::build::LAYER, only));
            return Ok((blocks, runs(self.sliding.iter().map(|_| super::build::LAYER))));
        }
        blocks.push(block(SLIDING, sliding));
        blocks.push(block(FULL, full));
        Ok((blocks, runs(self.sliding.iter().map(|sliding| if *sliding { SLIDING } else { FULL }))))
    }

    /// Fills a decoder with them.
    pub(super) fn fill(
        &self,
        model: Model,
        stages: impl Fn(u64, bool) -> Result<Vec<Stage>, InputError>,
    ) -> Result<Model, InputError> {
        let (blocks, pattern) = self.layers(stages)?;
        Ok(Model { pattern, blocks, ..model })
    }
}
