//! Renders every kind of plot from made-up data, for looking at the style: `cargo run --example gallery -- DIRECTORY`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_reports::plot::{self, Drawing, ParetoPoint, PlotKind, Quantity, Roofline, RooflinePoint, Scaling, Series};
use banksia_reports::{
    ComponentReport, MachineInfo, OperatorReport, PointRow, ReportError, RunReport, SCHEMA, StepReport, TimelineSpan,
    WorkloadInfo,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).ok_or("usage: gallery DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    let models = [("GPT-2 small", 1.0), ("GPT-2 medium", 2.7), ("GPT-2 XL", 10.2), ("GPT-3 XL", 9.6)];
    let reports: Vec<RunReport> = models.iter().map(|&(model, size)| report(model, size)).collect();
    print!("{}", banksia_reports::terminal(&reports[0], None, false));
    println!();
    let points: Vec<PointRow<'_>> = reports.iter().map(PointRow::of).collect();
    let compared = banksia_reports::compare(&points);
    print!("{}", banksia_reports::comparison_table(&compared, None, false));
    banksia_reports::write_directory(&reports[0], &directory.join("run"))?;

    save(&directory, "breakdown-one", &plot::breakdown(&reports[..1]))?;
    for kind in PlotKind::ALL {
        save(&directory, kind.name(), &drawing(kind, &reports))?;
    }
    Ok(())
}

fn save(directory: &Path, name: &str, drawing: &Drawing) -> Result<(), ReportError> {
    drawing.write(&directory.join(format!("{name}.svg")))?;
    drawing.write(&directory.join(format!("{name}.png")))
}

fn drawing(kind: PlotKind, reports: &[RunReport]) -> Drawing {
    let (latency, energy) = (Quantity::new("Latency per token", "s"), Quantity::new("Energy per token", "J"));
    match kind {
        PlotKind::Breakdown => plot::breakdown(reports),
        PlotKind::Context => plot::context(reports),
        PlotKind::Energy => plot::energy(reports),
        PlotKind::Sweep => {
            let series = ["HBM2", "HBM3", "GDDR6-AiM"].iter().enumerate().map(|(i, name)| {
                let point =
                    |n: u32| (f64::from(1u32 << n), 4e-3 / f64::from(1u32 << n).powf(0.9) / (i + 1) as f64 + 2e-5);
                Series { name: (*name).into(), points: (0..7).map(point).collect() }
            });
            let x = Quantity::new("Channels", "");
            plot::sweep(&series.collect::<Vec<_>>(), (&x, Scaling::Log), (&latency, Scaling::Log))
        }
        PlotKind::Heatmap => {
            let names = |all: &[&str]| all.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
            let values = (0..12).map(|i| Some(4e-3 / f64::from(1 << (i % 4)) / f64::from(1 + i / 4) + 2e-4)).collect();
            let x = ("Channels".to_owned(), names(&["4", "8", "16", "32"]));
            let y = ("Memory".to_owned(), names(&["HBM2", "HBM3", "GDDR6-AiM"]));
            plot::heatmap(&plot::Heatmap { x, y, values }, &latency, false)
        }
        PlotKind::Cdf => {
            let series = ["gemm", "attention"].iter().enumerate().map(|(s, name)| {
                let point = |i: u32| (((f64::from(i) * 1.7).sin() * 12.0 * (s + 1) as f64).abs(), 0.0);
                Series { name: (*name).into(), points: (0..180).map(point).collect() }
            });
            plot::cdf(&series.collect::<Vec<_>>(), &Quantity::new("Error", "%"), Scaling::Linear)
        }
        PlotKind::Roofline => {
            let point = |name: &str, flops_per_byte, flops_per_s| RooflinePoint {
                name: name.into(),
                flops_per_byte,
                flops_per_s,
            };
            plot::roofline(&[Roofline {
                peak_flops_per_s: 989e12,
                peak_bandwidth_bytes_per_s: 4.8e12,
                points: vec![
                    point("qkv projection", 410.0, 720e12),
                    point("attention scores", 62.0, 210e12),
                    point("feed-forward", 520.0, 790e12),
                    point("softmax", 1.2, 3.1e12),
                    point("layer norm", 0.9, 2.6e12),
                    point("decode GEMV", 1.0, 4.1e12),
                ],
            }])
        }
        PlotKind::Validation => {
            let series = ["gemm", "attention", "moe"].iter().enumerate().map(|(s, name)| {
                let point = |i: u32| {
                    let measured = 3e-6 * 10f64.powf(f64::from(i) / 60.0);
                    let wave = (f64::from(i) * 1.7 + s as f64).sin() * (f64::from(i) * 0.61).cos();
                    (measured, measured * (1.0 + 0.22 * wave + 0.04 * s as f64))
                };
                Series { name: (*name).into(), points: (0..180).map(point).collect() }
            });
            plot::validation(&series.collect::<Vec<_>>(), &Quantity::new("latency", "s"))
        }
        PlotKind::Bandwidth => {
            let series = [("Sequential reads", 0.93), ("Random reads", 0.41), ("Two reads to a write", 0.74)].map(
                |(name, limit)| {
                    let point = |i: u32| {
                        let load = f64::from(i) / 20.0 * 0.985;
                        (load * limit * 819e9, 55e-9 + 18e-9 * load / (1.0 - load))
                    };
                    Series { name: name.into(), points: (1..=20).map(point).collect() }
                },
            );
            plot::bandwidth(&series, Some(819e9))
        }
        PlotKind::Pareto => {
            let point = |i: u32| {
                let f = f64::from(i);
                let spread = 1.0 + 0.8 * (f * 2.4).sin().abs();
                let x = 1e-4 * (1.0 + f / 8.0);
                ParetoPoint {
                    name: format!("{} ch × {} MACs", 8 << (i % 4), 16 << (i % 3)),
                    x: x * spread,
                    y: 6e-7 / x * spread,
                }
            };
            let points: Vec<ParetoPoint> = (0..40).map(point).collect();
            let low = plot::Better::Low;
            plot::pareto(&points, (&latency, Scaling::Linear, low), (&energy, Scaling::Linear, low))
        }
    }
}

/// A made-up decode run that keeps a report's laws, `size` times the smallest model.
fn report(model: &str, size: f64) -> RunReport {
    let operators = [
        ("qkv projection", 0.21, 0.24),
        ("attention scores", 0.06, 0.05),
        ("softmax", 0.04, 0.01),
        ("attention values", 0.07, 0.06),
        ("output projection", 0.08, 0.08),
        ("feed-forward up", 0.25, 0.26),
        ("GELU", 0.02, 0.01),
        ("feed-forward down", 0.24, 0.26),
        ("layer norm", 0.02, 0.01),
        ("LM head", 0.01, 0.02),
    ];
    let tokens = 256u32;
    let steps: Vec<StepReport> = {
        let mut start = 0.0;
        (1..=tokens)
            .map(|i| {
                // A page of the KV cache starts every 64 tokens.
                let latency = size * (84e-6 + 0.08e-6 * f64::from(i) + 2.0e-6 * f64::from(i / 64));
                let step = StepReport {
                    phase: "decode".into(),
                    context_tokens: u64::from(i + 128),
                    start_s: start,
                    latency_s: latency,
                    energy_j: latency * 1.9,
                };
                start += latency;
                step
            })
            .collect()
    };
    let latency: f64 = steps.iter().map(|s| s.latency_s).sum();
    let energy: f64 = steps.iter().map(|s| s.energy_j).sum();
    let bytes = |share: f64| (share * size * 6.3e10) as u64;
    let operators: Vec<OperatorReport> = operators
        .iter()
        .map(|&(name, time, joules)| OperatorReport {
            name: name.into(),
            count: 12 * u64::from(tokens),
            latency_s: latency * time,
            busy_s: latency * time * 1.1,
            energy_j: energy * joules,
            flops: 2.0 * bytes(time) as f64,
            traffic_bytes: BTreeMap::from([
                ("bank_internal".into(), 8 * (bytes(time) / 8)),
                ("pins_read".into(), 8 * (bytes(time) / 800)),
            ]),
        })
        .collect();
    let total = |channel: &str| operators.iter().map(|o| o.traffic_bytes[channel]).sum::<u64>();
    let traffic = BTreeMap::from(["bank_internal", "pins_read"].map(|c| (c.to_owned(), total(c))));
    let shares =
        [("activate", 0.31), ("mac", 0.36), ("background", 0.14), ("refresh", 0.03), ("io", 0.12), ("asic", 0.04)];
    let parts = |whole: f64| shares.map(|(name, share)| (name.to_owned(), whole * share)).into_iter();
    let channels = (0..8).map(|i| ComponentReport {
        name: format!("channel {i}"),
        kind: "pim channel".into(),
        busy_s: latency * 0.91,
        utilization: 0.91,
        energy_parts_j: parts(energy / 8.0).filter(|(n, _)| n != "asic").collect(),
        traffic_bytes: traffic.iter().map(|(c, b)| (c.clone(), b / 8)).collect(),
        utilization_over_time: Vec::new(),
    });
    let asic = ComponentReport {
        name: "ASIC".into(),
        kind: "asic".into(),
        busy_s: latency * 0.12,
        utilization: 0.12,
        energy_parts_j: parts(energy).filter(|(n, _)| n == "asic").collect(),
        ..ComponentReport::default()
    };
    let span = |group: &str, lane: String, name: &str, start_us: f64, us: f64| TimelineSpan {
        group: group.into(),
        lane,
        name: name.into(),
        start_s: start_us * 1e-6,
        duration_s: us * 1e-6,
        details: BTreeMap::new(),
    };
    let mut timeline = vec![span("operators", "layer 0".into(), "qkv projection", 0.0, 2.0)];
    timeline.extend((0..8).map(|i| span("pim", format!("channel {i}"), "MAC", 0.1, 1.8)));
    RunReport {
        schema: SCHEMA,
        banksia_version: env!("CARGO_PKG_VERSION").into(),
        name: "decode-256".into(),
        seed: 0,
        configuration_sha256: String::new(),
        configuration: String::new(),
        machine: MachineInfo {
            name: "PIM-GPT".into(),
            kind: "pim".into(),
            peak_flops_per_s: 4.1e12 * size,
            peak_bandwidth_bytes_per_s: 4.1e12 * size,
            capacity_bytes: 8 << 30,
        },
        workload: WorkloadInfo {
            model: model.into(),
            parameters: (124e6 * size) as u64,
            weight_bytes: (248e6 * size) as u64,
            prompt_tokens: 128,
            generated_tokens: u64::from(tokens),
            batch: 1,
            flops: operators.iter().map(|o| o.flops).sum(),
        },
        latency_s: latency,
        energy_j: energy,
        power_w: energy / latency,
        tokens: Some(tokens.into()),
        tokens_per_s: Some(f64::from(tokens) / latency),
        ttft_s: None,
        tpot_s: None,
        footprint_bytes: std::collections::BTreeMap::new(),
        energy_parts_j: parts(energy).collect(),
        traffic_bytes: traffic.clone(),
        metrics: BTreeMap::from([
            ("row_hit_rate".into(), 0.982),
            ("mac_utilization".into(), 0.71),
            ("bank_bandwidth_bytes_per_s".into(), 2.4e12),
        ]),
        commands: BTreeMap::from([("ACT".into(), 120_000), ("MAC_ABK".into(), 9_000_000)]),
        operators,
        components: channels.chain([asic]).collect(),
        steps,
        timeline,
    }
}
