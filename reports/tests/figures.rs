//! Figures from files, however odd: nothing panics, nothing is off the page, no legend lies over data, and the same input gives the
//! same bytes.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use banksia_reports::plot::{
    Area, Drawing, Emit, LegendPlace, PlotKind, PlotOptions, Plotted, Style, Typeface, data_csv, plot_figure,
    plot_files, read_figure, write_figure,
};
use banksia_reports::{ReportError, write_directory};
use proptest::prelude::*;

/// A fresh directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("banksia-figures-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plot(kind: PlotKind, path: &Path, options: &PlotOptions) -> Result<Plotted, ReportError> {
    plot_files(kind, &[path.to_owned()], options)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The laws of every drawing.
#[track_caller]
fn lawful(drawing: &Drawing, what: &str) {
    let (width, height) = drawing.size();
    assert!(width.is_finite() && height.is_finite() && height < 5000.0, "{what}: {width} by {height}");
    for (x0, y0, x1, y1) in drawing.extents() {
        let inside = x0 >= -1.5 && y0 >= -1.5 && x1 <= width + 1.5 && y1 <= height + 1.5;
        assert!(inside, "{what}: {x0} {y0} {x1} {y1} is off a page of {width} by {height}");
    }
    let datas: Vec<_> =
        drawing.areas().iter().filter_map(|a| if let Area::Data(e) = a { Some(*e) } else { None }).collect();
    for area in drawing.areas() {
        let Area::Legend(l) = *area else { continue };
        for d in &datas {
            let apart = l.0 >= d.2 - 1e-6 || l.2 <= d.0 + 1e-6 || l.1 >= d.3 - 1e-6 || l.3 <= d.1 + 1e-6;
            assert!(apart, "{what}: the legend {l:?} lies over the data {d:?}");
        }
    }
    for d in &datas {
        assert!(d.0 < d.2 && d.1 < d.3 && d.0 >= 0.0 && d.2 <= width && d.3 <= height, "{what}: data at {d:?}");
    }
    assert_eq!(drawing.svg().unwrap(), drawing.svg().unwrap());
    data_csv(drawing).unwrap();
}

const TABLES: [PlotKind; 8] = [
    PlotKind::Bars,
    PlotKind::Box,
    PlotKind::Sweep,
    PlotKind::Heatmap,
    PlotKind::Cdf,
    PlotKind::Pareto,
    PlotKind::Validation,
    PlotKind::Bandwidth,
];

/// Options by which each kind reads the columns `x, y, z, by`.
fn read_by(kind: PlotKind, by: bool) -> PlotOptions {
    let value = (kind == PlotKind::Heatmap).then(|| "z".to_owned());
    PlotOptions { x: some("x"), y: vec!["y".into()], value, by: by.then(|| "by".into()), ..PlotOptions::default() }
}

#[test]
fn hostile_tables_are_drawn_or_refused() {
    let scratch = Scratch::new("hostile");
    let mut many = String::from("x,y,z,by\n");
    for i in 0..200 {
        writeln!(many, "category number {i} with a long name,{},{},{}", i + 1, i * 3, i % 2).unwrap();
    }
    let mut series = String::from("x,y,z,by\n");
    for i in 0..30 {
        for x in [1, 2, 4] {
            writeln!(series, "{x},{},{},a series with a really long name that goes on and on {i}", x * (i + 1), i)
                .unwrap();
        }
    }
    let tables = [
        ("empty", "x,y,z,by\n".to_owned()),
        ("blank", "x,y,z,by\n,,,\n,,,\n".to_owned()),
        ("nan", "x,y,z,by\n1,NaN,inf,a\n2,-inf,NaN,b\nNaN,1,2,a\n".to_owned()),
        ("one", "x,y,z,by\n1,2,3,a\n".to_owned()),
        ("zero", "x,y,z,by\n0,0,0,a\n0,0,0,b\n".to_owned()),
        ("huge", "x,y,z,by\n1e300,1e-300,5e-324,a\n-1e308,1.7e308,1e308,b\n".to_owned()),
        ("unicode", "x,y,z,by\nтест,1,2,日本語\n\u{202e}abc,3,4,😀\n\"a\nb\",5,6,é\n".to_owned()),
        ("many", many),
        ("series", series),
    ];
    let styles = [
        Style::default(),
        Style { legend: LegendPlace::Right, font: Typeface::Times, title: some("T"), ..Style::default() },
        Style { legend: LegendPlace::Below, font: Typeface::Libertine, height: Some(120.0), ..Style::default() },
    ];
    let mut drawn = 0;
    for (name, text) in &tables {
        let path = scratch.file(&format!("{name}.csv"), text);
        for kind in TABLES {
            for (i, style) in styles.iter().enumerate() {
                for log in [false, true] {
                    let base = read_by(kind, i != 2);
                    let options = PlotOptions { log_y: log, log2_x: log, style: style.clone(), ..base };
                    match plot(kind, &path, &options) {
                        Ok(plotted) => {
                            drawn += 1;
                            lawful(&plotted.drawing, &format!("{} of {name}", kind.name()));
                            assert_eq!(plot(kind, &path, &options).unwrap(), plotted);
                        }
                        Err(ReportError::Input(_)) => {}
                        Err(other) => unreachable!("{} of {name}: {other}", kind.name()),
                    }
                }
            }
        }
    }
    assert!(drawn > 150, "only {drawn} were drawn");
}

#[test]
fn reports_are_drawn_with_a_style() {
    let scratch = Scratch::new("reports");
    write_directory(&crate::sample::report(), &scratch.0).unwrap();
    let rename = [("softmax".to_owned(), "Soft-max".to_owned())].into();
    let style = Style { rename, title: some("One run"), ..Style::default() };
    let options = PlotOptions { style, ..PlotOptions::default() };
    use PlotKind::{Breakdown, Context, Energy, Gantt, Roofline};
    for kind in [Breakdown, Context, Energy, Gantt, Roofline] {
        let drawing = plot(kind, &scratch.0, &options).unwrap().drawing;
        lawful(&drawing, kind.name());
        let svg = drawing.svg().unwrap();
        assert!(svg.contains("One run") && !svg.contains("softmax"), "{}", kind.name());
        let two = plot_files(kind, &[scratch.0.clone(), scratch.0.clone()], &options);
        assert_eq!(two.is_ok(), kind != Gantt);
        assert_eq!(svg.contains("Soft-max"), [Breakdown, Gantt].contains(&kind), "{}", kind.name());
    }
    let mut report = crate::sample::report();
    report.timeline.clear();
    let bare = scratch.0.join("bare");
    write_directory(&report, &bare).unwrap();
    assert!(plot(Gantt, &bare, &options).unwrap_err().to_string().contains("--timeline"));
}

const BARS: &str = "model,device.kind,time_s,error_s,up_j,down_j\n\
    s,gpu,8,1,1,3\ns,pim,2,0.5,2,2\nl,gpu,18,1,4,1\nl,pim,2,0.1,1,1\nl,pim,4,0.1,1,1\n";

#[test]
fn bars_are_of_columns_against_a_baseline() {
    let scratch = Scratch::new("bars");
    let table = scratch.file("t.csv", BARS);
    let base =
        PlotOptions { x: some("model"), y: vec!["time_s".into()], by: some("device.kind"), ..PlotOptions::default() };
    let csv = |options: &PlotOptions| {
        let plotted = plot(PlotKind::Bars, &table, options).unwrap();
        lawful(&plotted.drawing, "bars");
        (data_csv(&plotted.drawing).unwrap().remove(0).1, plotted)
    };
    // The mean of two rows, with whiskers at both.
    let (text, plotted) = csv(&base);
    assert!(text.starts_with("category,series,part,Time (s),least,most\ns,gpu,,8,,\n"), "{text}");
    assert!(text.contains("l,pim,,3,2,4\n") && plotted.warnings.iter().any(|w| w.contains("means of several rows")));
    let speedup =
        PlotOptions { normalize: some("gpu"), speedup: true, geomean: true, by: some("kind"), ..base.clone() };
    let (text, plotted) = csv(&speedup);
    assert!(text.contains("Speedup over gpu") && text.contains("s,pim,,4,,") && text.contains("l,pim,,6,"), "{text}");
    assert!(text.contains("geomean,pim,,4.89897948557,"), "{text}");
    assert!(plotted.drawing.svg().unwrap().contains("4.90"));
    let (text, _) = csv(&PlotOptions { errors: some("error_s"), ..base.clone() });
    assert!(text.contains("s,gpu,,8,7,9\n"), "{text}");
    let stacked = PlotOptions { y: vec!["up_j".into(), "down_j".into()], stack: true, ..base.clone() };
    let (text, _) = csv(&stacked);
    assert!(text.contains("s,gpu,Up,1,,\ns,gpu,Down,3,,\n") && text.contains("Energy (J)"), "{text}");
    let (text, _) = csv(&PlotOptions { normalize: some("total"), ..stacked.clone() });
    assert!(text.contains("s,gpu,Up,25,,\ns,gpu,Down,75,,\n") && text.contains("Share of energy (%)"), "{text}");
    // The order and the names of a style.
    let rename = [("gpu".to_owned(), "GPU".to_owned())].into();
    let style = Style { order: vec!["l".into(), "pim".into()], rename, ..Style::default() };
    let (text, _) = csv(&PlotOptions { style, ..base.clone() });
    let places: Vec<usize> = ["l,pim", "l,GPU", "s,pim", "s,GPU"].iter().map(|t| text.find(t).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    let wrong = |options: PlotOptions| plot(PlotKind::Bars, &table, &options).unwrap_err().to_string();
    let error = wrong(PlotOptions { normalize: some("gpo"), ..base.clone() });
    assert!(error.contains("--normalize") && error.contains("did you mean `gpu`"), "{error}");
    assert!(wrong(PlotOptions { log_y: true, ..stacked.clone() }).contains("--log-y"));
    assert!(wrong(PlotOptions { errors: some("error_s"), ..stacked }).contains("--errors"));
    assert!(wrong(PlotOptions { y: vec!["model".into()], ..base }).contains("row 1 has `s`"));
}

#[test]
fn a_heat_maps_keys_are_whole_or_their_last_part() {
    let scratch = Scratch::new("keys");
    let text = "machine.memory.channels,device.pins,latency_s\n1,2,3\n1,4,5\n2,2,1\n2,4,2\n";
    let table = scratch.file("t.csv", text);
    let of = |x: &str, y: &str| {
        let options = PlotOptions { x: some(x), y: vec![y.into()], value: some("latency_s"), ..PlotOptions::default() };
        plot(PlotKind::Heatmap, &table, &options)
    };
    let whole = of("machine.memory.channels", "device.pins").unwrap();
    assert_eq!(whole, of("channels", "pins").unwrap());
    let csv = data_csv(&whole.drawing).unwrap().remove(0).1;
    assert!(csv.starts_with("x: Channels,y: Pins,Latency (s)\n1,2,3\n"), "{csv}");
    assert!(of("channel", "pins").unwrap_err().to_string().contains("machine.memory.channels"));
}

#[test]
fn logarithms_of_nothing_positive_are_refused() {
    let scratch = Scratch::new("log");
    let table = scratch.file("t.csv", "x,y,z,by\n-1,-2,-3,a\n-2,0,0,b\n");
    for kind in [PlotKind::Sweep, PlotKind::Pareto, PlotKind::Bars, PlotKind::Box, PlotKind::Cdf, PlotKind::Validation]
    {
        for two in [false, true] {
            let (log_x, log_y) = (!two && kind == PlotKind::Cdf, !two && kind != PlotKind::Cdf);
            let (log2_x, log2_y) = (two && kind == PlotKind::Cdf, two && kind != PlotKind::Cdf);
            let options = PlotOptions { log_x, log_y, log2_x, log2_y, ..read_by(kind, false) };
            let error = plot(kind, &table, &options).unwrap_err().to_string();
            assert!(error.contains("t.csv") && error.contains("positive"), "{}: {error}", kind.name());
        }
    }
}

#[test]
fn a_figures_file_says_how_it_looks() {
    let scratch = Scratch::new("toml");
    scratch.file("t.csv", BARS);
    let good = "[figure]\ntitle = \"A title\"\nwidth = \"page\"\nheight_in = 2\nfont = \"times\"\nlegend = \"right\"\n\
        kind = \"bars\"\ninputs = [\"t.csv\"]\nx = \"model\"\ny = \"time_s\"\nby = \"kind\"\ny_label = \"Seconds\"\n\
        annotations = [{ text = \"here\", x = \"s\", y = 6 }, { text = \"nowhere\", x = \"q\", y = 1 }]\n";
    let figure = read_figure(&scratch.file("f.toml", good)).unwrap();
    assert_eq!(
        (figure.kind, figure.inputs.len(), figure.options.style.font),
        (Some(PlotKind::Bars), 1, Typeface::Times)
    );
    let plotted = plot_files(PlotKind::Bars, &figure.inputs, &figure.options).unwrap();
    lawful(&plotted.drawing, "a figure");
    let svg = plotted.drawing.svg().unwrap();
    assert!(svg.starts_with("<svg width=\"7.0000in\" height=\"2.1") && svg.contains("Tinos"), "{}", &svg[..80]);
    assert!(["A title", "Seconds", "here"].iter().all(|t| svg.contains(t)) && !svg.contains("nowhere"));
    assert!(plotted.warnings.iter().any(|w| w.contains("`nowhere`")), "{:?}", plotted.warnings);
    let slide =
        read_figure(&scratch.file("s.toml", &good.replace("page", "slide").replace("height_in = 2\n", ""))).unwrap();
    let slide = plot_files(PlotKind::Bars, &slide.inputs, &slide.options).unwrap().drawing;
    assert!(slide.size().0 > 600.0);
    lawful(&slide, "a slide");
    for (text, words) in [
        ("[figure]\nwidth = \"wide\"\n", "figure.width"),
        ("[figure]\nfont = \"comic\"\n", "libertine"),
        ("[figure]\nlegend = \"inside\"\n", "figure.legend"),
        ("[figure]\nwidth_in = 0.1\n", "width_in"),
        ("[figure]\nheight_in = nan\n", "height_in"),
        ("[figure]\ntitel = \"x\"\n", "titel"),
        ("[figure]\nkind = \"bar\"\n", "bars"),
        ("[[panel]]\ninputs = [\"t.csv\"]\n", "panel[0].kind"),
        ("[[panel]]\nkind = \"bars\"\n", "panel[0].inputs"),
        ("[[panel]]\nkind = \"bars\"\ninputs = [\"t.csv\"]\nwidth = \"page\"\n", "panel[0].width"),
        ("[figure]\ncolumns = 0\n", "columns"),
        ("[figure\n", "f.toml:1"),
    ] {
        let error = read_figure(&scratch.file("f.toml", text)).unwrap_err().to_string();
        assert!(error.contains("f.toml") && error.contains(words), "{text}: {error}");
    }
}

#[test]
fn panels_share_a_page_and_scripts_stand_beside_it() {
    let scratch = Scratch::new("panels");
    scratch.file("t.csv", BARS);
    write_directory(&crate::sample::report(), &scratch.0.join("run")).unwrap();
    let mut text = String::from("[figure]\nwidth = \"page\"\n");
    let of_table = "inputs = [\"t.csv\"]\nx = \"model\"\ny = \"time_s\"\n";
    for kind in ["bars", "box", "sweep"] {
        write!(text, "[[panel]]\ntitle = \"50 % of a_b & \\\"c\\\"\"\nkind = \"{kind}\"\n{of_table}").unwrap();
    }
    text += "[[panel]]\nkind = \"heatmap\"\ninputs = [\"t.csv\"]\nx = \"model\"\ny = \"kind\"\nz = \"time_s\"\n";
    text += "[[panel]]\nkind = \"cdf\"\ninputs = [\"t.csv\"]\nx = \"time_s\"\n";
    text += "[[panel]]\nkind = \"pareto\"\ninputs = [\"t.csv\"]\nx = \"time_s\"\ny = \"up_j\"\nby = \"kind\"\n";
    for kind in ["breakdown", "energy", "gantt", "roofline", "context"] {
        write!(text, "[[panel]]\nkind = \"{kind}\"\ninputs = [\"run\"]\n").unwrap();
    }
    let file = scratch.file("f.toml", &text);
    let plotted = plot_figure(&read_figure(&file).unwrap(), &file).unwrap();
    lawful(&plotted.drawing, "panels");
    assert_eq!(plotted.drawing.data().len(), 11);
    let (scripts, said) = write_figure(&plotted.drawing, &scratch.0.join("out.pdf"), &Emit::ALL).unwrap();
    assert_eq!((scripts.len(), said.len()), (2, 0));
    assert!(scratch.0.join("out-a.csv").is_file() && scratch.0.join("out-k.csv").is_file());
    let tex = std::fs::read_to_string(&scripts[1]).unwrap();
    assert_eq!(tex.matches('{').count(), tex.matches('}').count());
    assert!(tex.contains("50 \\% of a\\_b \\& \"c\"") && tex.matches("\\begin{axis}").count() == 11);
    // The same script for the same figure, and one that Python reads.
    let python = std::fs::read_to_string(&scripts[0]).unwrap();
    write_figure(&plotted.drawing, &scratch.0.join("out.pdf"), &Emit::ALL).unwrap();
    assert_eq!(std::fs::read_to_string(&scripts[0]).unwrap(), python);
    match std::process::Command::new("python3").args(["-m", "py_compile"]).arg(&scripts[0]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(e) => eprintln!("python3 does not run here ({e}): the script is not compiled"),
    }
}

#[test]
fn a_table_of_someone_else_is_left_alone() {
    let scratch = Scratch::new("foreign");
    let table = scratch.file("t.csv", BARS);
    let options = PlotOptions { x: some("model"), y: vec!["time_s".into()], ..PlotOptions::default() };
    let drawing = plot(PlotKind::Bars, &table, &options).unwrap().drawing;
    let (_, said) = write_figure(&drawing, &scratch.0.join("t.svg"), &[]).unwrap();
    assert_eq!(std::fs::read_to_string(&table).unwrap(), BARS);
    assert!(said[0].contains("t-drawn.csv") && scratch.0.join("t-drawn.csv").is_file(), "{said:?}");
    for _ in 0..2 {
        assert_eq!(write_figure(&drawing, &scratch.0.join("other.svg"), &[]).unwrap().1, Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the names and the numbers: the laws hold for every kind that a table gives.
    #[test]
    fn any_table_keeps_the_laws(
        rows in proptest::collection::vec(("[ -~éλ\u{4e00}]{0,40}", any::<f64>(), -1e6..1e6f64, "[a-z]{0,50}"), 1..40),
        place in 0usize..4,
        width in 1.5..9.0f64,
    ) {
        let scratch = Scratch::new("any");
        let mut text = String::from("x,y,z,by\n");
        for (x, y, z, by) in &rows {
            writeln!(text, "\"{}\",{y},{z},{by}", x.replace('"', "\"\"")).unwrap();
        }
        let table = scratch.file("t.csv", &text);
        let legend = [LegendPlace::Auto, LegendPlace::Above, LegendPlace::Below, LegendPlace::Right][place];
        let style = Style { legend, width: width * 72.0, ..Style::default() };
        for kind in TABLES {
            let options = PlotOptions { style: style.clone(), ..read_by(kind, true) };
            if let Ok(plotted) = plot(kind, &table, &options) {
                lawful(&plotted.drawing, kind.name());
            }
        }
    }
}
