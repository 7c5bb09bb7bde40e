//! A small report made by hand, whose laws hold: two operators, two equal channels and an ASIC, three steps.

use std::collections::BTreeMap;

use banksia_reports::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, SCHEMA, StepReport, TimelineSpan, WorkloadInfo,
};

fn map<V: Copy>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value)).collect()
}

pub(crate) fn report() -> RunReport {
    let channel = |name: &str| ComponentReport {
        name: name.into(),
        kind: "pim channel".into(),
        busy_s: 6e-6,
        utilization: 0.75,
        energy_parts_j: map(&[("activate", 0.25), ("mac", 0.75)]),
        traffic_bytes: map(&[("bank_internal", 4096), ("pins_read", 16)]),
        utilization_over_time: vec![0.5, 1.0],
    };
    let step = |phase: &str, context_tokens: u64, start_s: f64, latency_s: f64, energy_j: f64| StepReport {
        phase: phase.into(),
        context_tokens,
        start_s,
        latency_s,
        energy_j,
    };
    let span = |group: &str, lane: &str, name: &str, start_s: f64, duration_s: f64| TimelineSpan {
        group: group.into(),
        lane: lane.into(),
        name: name.into(),
        start_s,
        duration_s,
        details: BTreeMap::new(),
    };
    let mut timeline = vec![
        span("operators", "decode", "qkv projection", 0.0, 6e-6),
        span("operators", "decode", "softmax", 6e-6, 2e-6),
        span("pim", "channel 0", "MAC", 0.0, 3e-6),
        // Overlaps the one before it in part: needs a thread of its own.
        span("pim", "channel 0", "READ", 2e-6, 2e-6),
        // Inside the one before it: nests.
        span("pim", "channel 0", "RDRES", 2.5e-6, 1e-6),
        span("asic", "asic", "exp", 6e-6, 2e-6),
    ];
    timeline[2].details.insert("rows".into(), "12".into());
    RunReport {
        schema: SCHEMA,
        banksia_version: "0.1.0".into(),
        name: "decode".into(),
        seed: 7,
        configuration_sha256: "00".into(),
        configuration: "[workload]\nmodel = \"tiny\"\n".into(),
        machine: MachineInfo {
            name: "tiny-pim".into(),
            kind: "pim".into(),
            peak_flops_per_s: 4e9,
            peak_bandwidth_bytes_per_s: 2e9,
            capacity_bytes: 1 << 20,
        },
        workload: WorkloadInfo {
            model: "tiny".into(),
            parameters: 4096,
            weight_bytes: 8192,
            prompt_tokens: 2,
            generated_tokens: 2,
            batch: 1,
            flops: 16384.0,
        },
        latency_s: 8e-6,
        energy_j: 2.5,
        power_w: 2.5 / 8e-6,
        tokens: Some(2),
        tokens_per_s: Some(2.0 / 8e-6),
        ttft_s: None,
        tpot_s: None,
        footprint_bytes: BTreeMap::new(),
        energy_parts_j: map(&[("activate", 0.5), ("asic", 0.5), ("mac", 1.5)]),
        traffic_bytes: map(&[("bank_internal", 8192), ("pins_read", 32)]),
        metrics: map(&[("row_hit_rate", 0.96875), ("mac_utilization", 0.5), ("bank_bandwidth_bytes_per_s", 1.024e9)]),
        commands: map(&[("ACT", 4), ("MAC_ABK", 128)]),
        operators: vec![
            OperatorReport {
                name: "softmax".into(),
                count: 3,
                latency_s: 2e-6,
                busy_s: 2e-6,
                energy_j: 0.5,
                flops: 0.0,
                traffic_bytes: map(&[("pins_read", 32)]),
            },
            OperatorReport {
                name: "qkv projection".into(),
                count: 3,
                latency_s: 6e-6,
                busy_s: 12e-6,
                energy_j: 2.0,
                flops: 16384.0,
                traffic_bytes: map(&[("bank_internal", 8192)]),
            },
        ],
        components: vec![
            channel("channel 0"),
            channel("channel 1"),
            ComponentReport {
                name: "asic".into(),
                kind: "asic".into(),
                busy_s: 2e-6,
                utilization: 0.25,
                energy_parts_j: map(&[("asic", 0.5)]),
                ..ComponentReport::default()
            },
        ],
        steps: vec![
            step("prefill", 2, 0.0, 4e-6, 1.0),
            step("decode", 3, 4e-6, 2e-6, 0.75),
            step("decode", 4, 6e-6, 2e-6, 0.75),
        ],
        timeline,
    }
}
