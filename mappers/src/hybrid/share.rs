//! What each device has of a step of which both have a part: experts by their rows.

use banksia_workloads::{Op, StepGraph};
use petgraph::graph::NodeIndex;

use super::place::{On, Placed, Resolved};

/// The step's graph as a device sees it: of experts that are split, those that it has, and the rows of these.
pub(super) fn seen_by(device: On, graph: &StepGraph, placed: &Resolved) -> StepGraph {
    let mut graph = graph.clone();
    for (region, placed) in graph.regions.iter_mut().zip(placed) {
        // Rows of each expert that are this device's.
        let mut rows = 0u64;
        for (index, place) in placed.iter().enumerate() {
            let Placed::Below(below) = place else { continue };
            let Some(node) = region.body.operator_mut(NodeIndex::new(index)) else { continue };
            if matches!(node.op, Op::ExpertLinear { .. }) {
                let is_own = |n: u64| (n < *below) == (device == On::Pim);
                node.load = node.load.iter().map(|n| if is_own(*n) { *n } else { 0 }).collect();
                rows = node.load.iter().sum();
            }
            // What is between two products of experts has a row for each of theirs.
            (node.batch, node.tokens) = (1, rows);
        }
    }
    graph
}

#[cfg(test)]
mod tests {
    use banksia_workloads::zoo;
    use banksia_workloads::{Generation, Step};

    use super::super::place::{On, Placed};
    use super::seen_by;

    #[test]
    fn every_row_of_every_expert_is_one_devices() {
        let model = zoo::load("mixtral-8x7b").unwrap();
        let generation = Generation { batch: 7, ..Generation::default() };
        let graph = model.graph(&Step::decode(7, 100), &generation);
        for below in 0..9 {
            let placed: Vec<Vec<Placed>> = graph
                .regions
                .iter()
                .map(|r| {
                    let of = |label: &str| label.starts_with("experts");
                    let place = |label: &str| if of(label) { Placed::Below(below) } else { Placed::Gpu };
                    r.body.operators().map(|n| place(&n.label)).collect()
                })
                .collect();
            let (gpu, pim) = (seen_by(On::Gpu, &graph, &placed), seen_by(On::Pim, &graph, &placed));
            let mut split = 0;
            for ((whole, gpu), pim) in graph.operators().zip(gpu.operators()).zip(pim.operators()) {
                let (whole, gpu, pim) = (whole.0, gpu.0, pim.0);
                for ((all, a), b) in whole.load.iter().zip(gpu.load.iter()).zip(pim.load.iter()) {
                    assert_eq!(*all, a + b);
                    assert!(*b < below.max(1) && (*a == 0 || *a >= below));
                    split += 1;
                }
                if whole.label.starts_with("experts") {
                    assert_eq!(whole.batch * whole.tokens, gpu.tokens + pim.tokens, "{}", whole.label);
                    assert_eq!(whole.flops(), gpu.flops() + pim.flops(), "{}", whole.label);
                }
            }
            assert!(split > 0);
        }
    }
}
