//! The nodes and stacks that come along.

use banksia_input::{InputError, Source};

use super::node::RooflineNode;
use super::stacks::PimStacks;

macro_rules! embedded {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../catalog/nodes/", $name, ".toml")))),*]
    };
}

const NODES: &[(&str, &str)] = embedded!("dgx-a100-hbm3" "dgx-h100" "pimba-a100" "pimba-b200" "pimba-h100");
const STACKS: &[(&str, &str)] = embedded!("attacc-bank" "attacc-bank-group" "attacc-buffer");

fn find(list: &[(&'static str, &'static str)], what: &str, name: &str) -> Result<Source, InputError> {
    let (name, text) = list
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| InputError::unknown_name("catalog", what, name, list.iter().map(|(n, _)| *n)))?;
    Ok(Source::from_text(format!("catalog:{name}"), *text))
}

/// The node of a name.
///
/// # Errors
/// There is no such node.
pub fn node(name: &str) -> Result<RooflineNode, InputError> {
    RooflineNode::read(&find(NODES, "node", name)?)
}

/// The stacks of a name.
///
/// # Errors
/// There are no such stacks.
pub fn stacks(name: &str) -> Result<PimStacks, InputError> {
    PimStacks::read(&find(STACKS, "PIM stacks", name)?)
}

/// The names of all nodes and stacks.
pub fn names() -> impl Iterator<Item = &'static str> {
    NODES.iter().chain(STACKS).map(|(name, _)| *name)
}
