//! The graphs of a decoder of one plain block.

use crate::config::GptConfig;
use crate::generation::{Generation, Step};
use crate::graph::Graph;
use crate::model::Model;
use crate::op::OperatorNode;

impl GptConfig {
    /// The operator graph of one step: embedding, every layer, final norm, vocabulary projection and the choice of the
    /// token, the first and the last as `generation` says. The final norm and what follows run for the last token of each
    /// sequence only, since no other is sampled from.
    ///
    /// Decode steps differ in their context alone: keep one graph and move it along with [`Graph::set_context`]. Layers
    /// are alike: [`GptConfig::layer_operators`] gives one.
    pub fn step_graph(&self, step: &Step, generation: &Generation) -> Graph {
        Model::from(self).step_graph(step, generation)
    }

    /// The operators of one layer in the order of execution, with names that lack the layer's prefix (`qkv` for
    /// `layer3.qkv`) and no layer number. Every layer of [`GptConfig::step_graph`] consists of these, prefixed
    /// `layer{n}.`.
    pub fn layer_operators(&self, step: &Step, generation: &Generation) -> Vec<OperatorNode> {
        let strip = |name: &mut String| {
            if let Some(rest) = name.strip_prefix("layer0.") {
                *name = rest.to_owned();
            }
        };
        let mut nodes: Vec<OperatorNode> =
            self.distinct_operators(step, generation).into_iter().filter(|n| n.layer.is_some()).collect();
        for node in &mut nodes {
            node.layer = None;
            strip(&mut node.name);
            for tensor in node.inputs.iter_mut().chain(&mut node.weights).chain(&mut node.outputs) {
                strip(&mut tensor.name);
            }
        }
        nodes
    }

    /// The operators before the first layer, of the first layer, and after the last: one of every kind in the step.
    pub fn distinct_operators(&self, step: &Step, generation: &Generation) -> Vec<OperatorNode> {
        Self { layers: 1, ..self.clone() }.step_graph(step, generation).operators().cloned().collect()
    }
}
