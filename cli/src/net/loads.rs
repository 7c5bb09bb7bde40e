//! The heat map of a network on a chip: the load of links, by the router that they leave.

use banksia_hw::net::noc::{NetReport, Shape};
use banksia_reports::plot::{Heatmap, Quantity, Style, heatmap};

use crate::CliError;

/// Routers of a row of the map: those of the first dimension, or as many as make a square.
fn row(shape: &Shape, routers: usize) -> usize {
    let row = match shape {
        Shape::Mesh { radix, .. } | Shape::Torus { radix, .. } | Shape::ConcentratedMesh { radix } => *radix,
        _ => (1..).find(|side| side * side >= routers).unwrap_or(routers),
    };
    row.clamp(1, routers.max(1))
}

/// A cell a router, row by row from the bottom up: the load of the busiest link that leaves it for another router.
fn map(report: &NetReport, shape: &Shape) -> Heatmap {
    let columns = row(shape, report.routers);
    let rows = report.routers.div_ceil(columns);
    let mut values: Vec<Option<f64>> = vec![None; rows * columns];
    for l in report.links.iter().filter(|l| !l.to_terminal) {
        if let Some(cell) = values.get_mut(l.router as usize) {
            *cell = Some(cell.unwrap_or(0.0).max(l.load));
        }
    }
    let names = (0..columns).map(|c| format!("{c}")).collect();
    let firsts = (0..rows).map(|r| format!("{}", r * columns)).collect();
    Heatmap { x: ("router of the row".to_owned(), names), y: ("first router of the row".to_owned(), firsts), values }
}

/// Draws it: loads at the last stable rate, or of the trace.
pub(super) fn figure(report: &NetReport, shape: &Shape, path: &std::path::Path) -> Result<(), CliError> {
    if report.links.iter().all(|l| l.to_terminal) {
        return Err(CliError::Failed("no link between routers was measured: there is no heat map to draw".into()));
    }
    let value = Quantity::new("busiest link, flits a cycle", "");
    Ok(heatmap(&map(report, shape), &value, false, &Style::default()).write(path)?)
}

#[cfg(test)]
mod tests {
    use banksia_hw::net::noc::{LinkLoad, NetReport, Shape};

    use super::map;

    #[test]
    fn a_cell_is_the_busiest_link_from_a_router_to_a_router() {
        let link = |router, output, to_terminal, load| LinkLoad { router, output, to: 0, to_terminal, load };
        let links = vec![
            link(0, 0, false, 0.25),
            link(0, 1, false, 0.5),
            link(0, 2, true, 0.75),
            link(3, 0, false, 0.125),
            link(5, 0, true, 1.0),
        ];
        let report = NetReport {
            name: String::new(),
            shape: "mesh",
            routing: "dimension-order",
            routers: 6,
            terminals: 6,
            deadlock: None,
            curve: Vec::new(),
            saturation: None,
            links,
            energy: None,
            energy_source: String::new(),
            trace: None,
        };
        let map = map(&report, &Shape::Butterfly { radix: 2, stages: 2 });
        assert_eq!((map.x.1.len(), map.y.1), (3, vec!["0".to_owned(), "3".to_owned()]));
        assert_eq!(map.values, [Some(0.5), None, None, Some(0.125), None, None]);
    }
}
