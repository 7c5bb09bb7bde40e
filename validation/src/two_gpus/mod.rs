//! `two_gpus.csv`: two H200 over NVLink. Collectives of PyTorch by size, products beside collectives, layers whose weights are shared out over both, and
//! attention while keys and values travel.

mod arguments;
mod collective;
mod layers;
mod overlap;
mod ranks;

use banksia_hw::gpu::sampling::Detail;

use crate::gpus::Devices;
use crate::rows::{Row, number, whole};
use crate::value::Value;

/// What a row's columns hold beside the latency: name of the metric and column.
const OVERLAP: [(&str, &str); 4] = [
    ("latency_us", "latency_us"),
    ("product_us", "min_us"),
    ("collective_us", "max_us"),
    ("pair_of_eight_us", "calls"),
];
const RING: [(&str, &str); 3] = [("latency_us", "latency_us"), ("attention_us", "min_us"), ("exchange_us", "max_us")];
const LATENCY: [(&str, &str); 1] = [("latency_us", "latency_us")];

/// Columns of a row that are predicted, each with the operation that it is about.
type Columns = &'static [(&'static str, &'static str)];

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    let (kind, op, args, mode) = (get("kind"), get("op"), get("bytes_or_args"), get("mode"));
    let (columns, predicted): (Columns, Result<Vec<f64>, String>) = match kind {
        "collective" => (&LATENCY, collective::microseconds(op, args, mode).map(|us| vec![us])),
        "overlap" => (&OVERLAP, overlap::beside(op, args, devices, detail)),
        "tp_layers" => (&LATENCY, layers::microseconds(op, args, devices, detail).map(|us| vec![us])),
        "ring_attention" => (&RING, overlap::ring_attention(args, devices, detail)),
        _ => (&LATENCY, Err(format!("rows of kind {kind} are not modelled"))),
    };
    let predicted = whole(row, "world", 2..=2).and(predicted);
    let value = |(i, &(metric, column)): (usize, &(&'static str, &str))| Value {
        device: "h200".into(),
        op: kind.to_owned(),
        metric,
        label: format!("{op} {args} {mode}"),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted: predicted.as_ref().map(|us| us.get(i).copied().unwrap_or(f64::NAN)).map_err(Clone::clone),
    };
    let mut values: Vec<Value> = columns.iter().enumerate().map(value).collect();
    if kind == "tp_layers" {
        // As `banksia run` would have it.
        let predicted = whole(row, "world", 2..=2).and_then(|_| ranks::microseconds(op, args, detail));
        values.extend(values.first().cloned().map(|v| Value { op: "tp_layers_run".to_owned(), predicted, ..v }));
    }
    values
}
