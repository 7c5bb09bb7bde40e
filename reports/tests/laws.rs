//! A report that breaks a law is caught, and no report, however odd, makes anything panic.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use banksia_reports::plot::{self, Better, Drawing, Heatmap, ParetoPoint, Quantity, Roofline, Scaling, Series, Style};
use banksia_reports::validation::error_statistics;
use banksia_reports::{
    Pair, PointRow, RunReport, chrome_trace, compare, comparison_csv, comparison_json, comparison_table, operators_csv,
    terminal,
};
use proptest::prelude::*;

#[test]
fn a_report_whose_parts_add_up_passes() {
    crate::sample::report().check().unwrap();
}

#[test]
fn every_broken_law_is_named() {
    let broken = |change: fn(&mut RunReport), words: &str| {
        let mut report = crate::sample::report();
        change(&mut report);
        let error = report.check().unwrap_err();
        assert!(error.contains(words), "`{error}` does not say `{words}`");
    };
    broken(|r| r.operators[0].latency_s *= 1.001, "operators' latencies");
    broken(|r| r.operators[0].energy_j = 0.0, "operators' energies");
    broken(|r| r.energy_parts_j.clear(), "energy parts");
    broken(|r| _ = r.components.pop(), "components' energies");
    broken(|r| r.steps[1].latency_s = 0.0, "steps' latencies");
    broken(|r| r.steps[1].energy_j = f64::NAN, "steps' energies");
    broken(|r| *r.traffic_bytes.get_mut("pins_read").unwrap() += 1, "pins_read bytes");
    broken(|r| _ = r.traffic_bytes.remove("pins_read"), "pins_read bytes");
    broken(|r| _ = r.operators[1].traffic_bytes.insert("dram".into(), 1), "dram bytes");
    broken(
        |r| {
            // The sum would overflow 64 bits and wrap to the right answer.
            r.operators[0].traffic_bytes.insert("pins_read".into(), u64::MAX);
            r.operators[1].traffic_bytes.insert("pins_read".into(), 33);
        },
        "pins_read bytes",
    );
    broken(|r| r.latency_s = f64::INFINITY, "operators' latencies");
}

fn odd() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(1e30),
        Just(-1e30),
        any::<f64>(),
        1e-9..1e3f64,
    ]
}

/// The sample with odd numbers in every place, and some of its lists cut short.
fn odd_report() -> impl Strategy<Value = RunReport> {
    (proptest::collection::vec(odd(), 24), 0usize..4, 0usize..4, any::<u64>()).prop_map(|(v, operators, steps, n)| {
        let mut r = crate::sample::report();
        r.operators.truncate(operators);
        r.steps.truncate(steps);
        r.components.truncate(operators);
        (r.latency_s, r.energy_j, r.power_w) = (v[0], v[1], v[2]);
        r.tokens = Some(n % 3);
        r.tokens_per_s = Some(v[3]);
        (r.machine.peak_flops_per_s, r.machine.peak_bandwidth_bytes_per_s) = (v[4], v[5]);
        r.workload.flops = v[6];
        r.workload.prompt_tokens = n >> 2;
        for (part, value) in r.energy_parts_j.values_mut().zip(&v[7..]) {
            *part = *value;
        }
        for (metric, value) in r.metrics.values_mut().zip(&v[10..]) {
            *metric = *value;
        }
        for (i, o) in r.operators.iter_mut().enumerate() {
            (o.latency_s, o.energy_j, o.flops) = (v[13 + i], v[15 + i], v[17 + i]);
        }
        for (i, s) in r.steps.iter_mut().enumerate() {
            (s.latency_s, s.context_tokens) = (v[19 + i], n);
        }
        for span in &mut r.timeline {
            (span.start_s, span.duration_s) = (v[22], v[23]);
        }
        if let Some(component) = r.components.first_mut() {
            (component.busy_s, component.utilization) = (v[12], v[9]);
        }
        r
    })
}

/// Renders as SVG, and as PNG where asked, which takes longer; an SVG with `NaN` or `inf` in a coordinate would be broken.
fn render(drawing: &Drawing, png: bool) -> Result<(), TestCaseError> {
    let svg = drawing.svg().unwrap();
    for tag in svg.lines().filter(|line| line.starts_with('<')) {
        prop_assert!(!tag.contains("NaN") && !tag.contains("inf\""), "{tag}");
    }
    prop_assert!(!png || drawing.pdf().unwrap().starts_with(b"%PDF"));
    prop_assert!(!png || drawing.png().unwrap().starts_with(b"\x89PNG"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn odd_reports_render(report in odd_report(), other in odd_report(), png in proptest::bool::weighted(0.015)) {
        let table = terminal(&report, None, false);
        prop_assert!(!table.contains("NaN") && !table.contains("inf"), "{}", table);
        operators_csv(&report).unwrap();
        chrome_trace(&report).unwrap();
        let _ = report.check();
        let both = [report, other];
        let rows = compare(&both.each_ref().map(PointRow::of));
        comparison_table(&rows, Some(40), true);
        comparison_json(&rows).unwrap();
        comparison_csv(&rows).unwrap();
        let style = &Style::default();
        for reports in [&both[..], &both[..1], &[]] {
            render(&plot::breakdown(reports, style), png)?;
            render(&plot::context(reports, style), png)?;
            render(&plot::energy(reports, style), png)?;
            render(&plot::roofline(&reports.iter().map(Roofline::of).collect::<Vec<_>>(), style), png)?;
            for report in reports {
                render(&plot::gantt(report, style), png)?;
            }
        }
    }

    #[test]
    fn odd_points_render(points in proptest::collection::vec((odd(), odd()), 0..6), peak in odd(), log: bool, png in proptest::bool::weighted(0.03)) {
        let quantity = Quantity::new("Latency", "s");
        let style = &Style::default();
        let axis = (&quantity, if log { Scaling::Log } else { Scaling::Linear });
        let series = [Series { name: "<a & \"b\">\n".into(), points: points.clone() }, Series::default()];
        render(&plot::sweep(&series, axis, axis, style), png)?;
        render(&plot::bandwidth(&series, Some(peak), style), png)?;
        render(&plot::validation(&series, &quantity, style), png)?;
        let names: Vec<String> = points.iter().map(|p| format!("{:e}", p.0)).collect();
        let places = points.iter().enumerate().map(|(i, p)| (i as f64, p.1)).collect();
        render(&plot::sweep_of_names(&[Series { name: "s".into(), points: places }], ("Machine", &names), axis, style), png)?;
        render(&plot::cdf(&series, &quantity, axis.1, style), png)?;
        let rows: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let map = Heatmap { x: ("X".into(), names.clone()), y: ("Y".into(), rows), values: points.iter().map(|p| Some(p.1)).collect() };
        render(&plot::heatmap(&map, &quantity, log, style), png)?;
        let named = |&(x, y): &(f64, f64)| ParetoPoint { name: "p".into(), x, y, group: String::new() };
        let named: Vec<ParetoPoint> = points.iter().map(named).collect();
        render(&plot::pareto(&named, (axis.0, axis.1, Better::High), (axis.0, axis.1, Better::Low), style), png)?;
        let pairs: Vec<Pair> =
            points.iter().map(|&(measured, predicted)| Pair { label: String::new(), measured, predicted }).collect();
        if let Some(s) = error_statistics(&pairs) {
            prop_assert!(s.kendall_tau.is_none_or(|tau| (-1.0 - 1e-9..=1.0 + 1e-9).contains(&tau)));
        }
    }
}
