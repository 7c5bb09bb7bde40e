//! The page is the same every time, loads nothing, reads no text as HTML, and works in a browser.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use banksia_reports::plot::Better;
use banksia_reports::{
    ColumnKind, PageCell, PageColumn, PageData, PageFigure, PageTimeline, PageUnit, TimelineSpan, plot, report_page,
    units,
};

/// What a page must show as it is.
const HOSTILE: &str =
    "</script><script>window.onerror('read as a script')</script> \"'&<b>\u{2028}é 模型 🌱 {{data}} <!--";

/// A sweep of so many points: channels by batch by type, with an error and numbers that are none.
fn data(points: usize) -> PageData {
    let types = ["fp16", "int8", "bf16"];
    let columns = vec![
        PageColumn::text("name"),
        PageColumn::text("machine"),
        PageColumn::setting("channels"),
        PageColumn::setting("batch"),
        PageColumn::setting("data_type"),
        PageColumn::result("latency_s"),
        PageColumn::result("energy_j"),
        PageColumn::result("tokens_per_s"),
        PageColumn::result("mac_utilization"),
        PageColumn::result("stall_cycles"),
        PageColumn::result("weights_bytes"),
        PageColumn { better: None, ..PageColumn::result("speedup") },
    ];
    let rows = (0..points).map(|i| {
        let (channels, batch) = (f64::from(1 << (i % 6)), f64::from(1 << (i / 6 % 5)));
        // Some noise that is the same every time.
        let noise = 1.0 + (i.wrapping_mul(2_654_435_761) % 1000) as f64 / 2e3;
        let latency = 3e-3 * (1.0 + batch / 8.0) / channels.powf(0.8) * noise;
        let energy = 0.02 * batch.powf(0.7) * (1.0 + channels / 24.0) / noise;
        let name = if i == 7 { format!("point {i} {HOSTILE}") } else { format!("point {i}") };
        let mut row: Vec<PageCell> = vec![
            name.into(),
            "pim-gpt".into(),
            channels.into(),
            batch.into(),
            types[i / 30 % 3].into(),
            latency.into(),
            energy.into(),
            (batch / latency).into(),
            (0.9 / noise / (1.0 + batch / 16.0)).into(),
            PageCell::Number((i * 1234) as f64),
            PageCell::Number(((i + 1) << 12) as f64),
            if i % 11 == 3 { PageCell::Empty } else { (0.5 + noise * channels).into() },
        ];
        match i {
            5 => row[6] = f64::NAN.into(),
            9 => row[6] = f64::NEG_INFINITY.into(),
            12 => {
                row[5] = PageCell::Error(format!("machine.memory.channels: must be at most 16 {HOSTILE}"));
                row[6..].fill(PageCell::Empty);
            }
            _ => {}
        }
        row
    });
    let rows = rows.collect();
    let run = crate::sample::report();
    let figure = PageFigure {
        name: "Breakdown".into(),
        svg: plot::breakdown(std::slice::from_ref(&run), &plot::Style::default()).svg().unwrap(),
    };
    let evil = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"window.onerror('figure')\"><script>window.onerror('figure')</script>\
        <image href=\"http://localhost:1/x.png\"/><rect width=\"9\" height=\"9\" fill=\"#0072b2\"/></svg>";
    let figures = vec![figure, PageFigure { name: format!("Hostile {HOSTILE}"), svg: evil.into() }];
    let mut other = crate::sample::report();
    other.operators[0].name = HOSTILE.into();
    PageData {
        title: format!("Channels and batch {}", if points < 500 { HOSTILE } else { "" }),
        provenance: vec![("build".into(), "banksia 0.1.0".into()), ("sweep".into(), format!("sweep.toml {HOSTILE}"))],
        configuration: format!("# {HOSTILE}\n{}", run.configuration),
        columns,
        rows,
        figures,
        timelines: vec![
            PageTimeline { name: "point 1".into(), spans: spans(points) },
            PageTimeline { name: "small".into(), spans: run.timeline.clone() },
        ],
        reports: vec![("point 1".into(), run), (HOSTILE.into(), other)],
    }
}

/// Twenty spans a point, on channels, an ASIC and the operators they belong to.
fn spans(points: usize) -> Vec<TimelineSpan> {
    let names = ["qkv projection", "attention scores", "softmax", "ffn up projection", "layer norm"];
    let span = |group: &str, lane: String, name: &str, start_s: f64, duration_s: f64| TimelineSpan {
        group: group.into(),
        lane,
        name: name.into(),
        start_s,
        duration_s,
        details: BTreeMap::from([("rows".to_owned(), format!("{}", (start_s * 1e9) as u64 % 7))]),
    };
    let mut all = Vec::new();
    let mut at = 0.0;
    for i in 0..points {
        let length = 1e-6 * (1.0 + (i * 7 % 13) as f64);
        all.push(span("operators", "decode".into(), names[i % 5], at, length));
        for channel in 0..18 {
            let late = 1e-8 * f64::from(channel * (i as u32 % 5));
            all.push(span("pim", format!("channel {channel}"), names[i % 5], at + late, length * 0.8));
        }
        all.push(span(
            "asic",
            "asic".into(),
            if i % 7 == 0 { HOSTILE } else { "exp" },
            at + length * 0.5,
            length * 0.4,
        ));
        at += length;
    }
    // Inside and across others, and without a length or a finite time.
    all.push(span("asic", "asic".into(), "instant", 1e-6, 0.0));
    all.push(span("asic", "asic".into(), "never", f64::NAN, 1.0));
    all
}

#[test]
fn the_same_data_give_the_same_page() {
    let page = report_page(&data(300)).unwrap();
    assert_eq!(page, report_page(&data(300)).unwrap());
    // The data stay inside their element, whatever they say.
    assert_eq!(page.matches("<script").count(), 3, "an error handler, the data, and the script");
    assert_eq!(page.matches("</script").count(), 3);
    assert!(!page.contains("<b>") && !page.contains("<!--"));
    assert!(page.contains("&lt;/script&gt;") && page.contains("\\u003c/script>"));
    let data_of_page = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    assert!(!data_of_page.contains('\u{2028}'));
    let json: serde_json::Value = serde_json::from_str(data_of_page).unwrap();
    assert_eq!((&json["rows"], json["columns"].as_array().unwrap().len()), (&300.into(), 12));
    assert_eq!(json["timelines"][0]["names"].as_array().unwrap().len(), 8, "the span without a time is left out");
}

#[test]
fn the_page_loads_nothing() {
    let page = report_page(&data(30)).unwrap();
    let (before, rest) = page.split_once("<script type=\"application/json\"").unwrap();
    let (data_of_page, after) = rest.split_once("</script>").unwrap();
    for part in [before, after] {
        for word in
            ["http://", "https://", "src=", "url(", "@import", "fetch(", "XMLHttpRequest", "import(", "<link", "//cdn"]
        {
            assert!(!part.contains(word), "{word}");
        }
    }
    // Figures say which language they are in, and nothing else: a hostile one's reference is dropped when it is shown.
    assert!(data_of_page.contains("http://www.w3.org/2000/svg"));
    assert!(before.contains("default-src 'none'"));
}

#[test]
fn an_empty_page_and_a_wrong_one() {
    assert!(report_page(&PageData::default()).unwrap().ends_with("</html>\n"));
    let mut wrong = data(3);
    wrong.rows[1].pop();
    let error = report_page(&wrong).unwrap_err().to_string();
    assert!(error.contains("row 1 of a page has 11 cells for 12 columns"), "{error}");
}

#[test]
fn a_column_of_results_knows_its_unit() {
    let of = |name: &str| PageColumn::result(name);
    assert_eq!(of("latency_s").unit, Some(PageUnit::Si("s".into())));
    assert_eq!(of("bank_bandwidth_bytes_per_s").unit, Some(PageUnit::Si("B/s".into())));
    assert_eq!(of("row_hit_rate").unit, Some(PageUnit::Share));
    assert_eq!(of("stall_cycles").unit, Some(PageUnit::Plain("cycles".into())));
    assert_eq!(of("speedup").unit, None);
    assert_eq!((of("latency_s").better, of("tokens_per_s").better), (Some(Better::Low), Some(Better::High)));
    assert_eq!(PageColumn::setting("batch").kind, ColumnKind::Setting);
}

/// A browser on this machine.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|p| names.map(|n| p.join(n))).find(|p| p.is_file())
}

/// A page's document after its script has run, from a folder of its own.
fn dump(browser: &Path, name: &str, page: &str, hash: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("report.html");
    std::fs::write(&file, page).unwrap();
    let out = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}{hash}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8(out.stdout).unwrap();
    assert!(dom.contains("id=\"errors\""), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(dom.contains("id=\"errors\" role=\"alert\" hidden=\"\""), "{}", inside(&dom, "id=\"errors\""));
    dom
}

/// The text of the element that has this in its tag.
fn inside<'a>(dom: &'a str, tag: &str) -> &'a str {
    let after = dom.split_once(tag).map_or("", |(_, after)| after);
    after.split_once('>').map_or("", |(_, text)| text).split_once('<').map_or("", |(text, _)| text)
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = browser() else {
        println!("SKIPPED: no chromium, chromium-browser or google-chrome is on PATH");
        return;
    };
    let mut single = data(1);
    single.rows.clear();
    single.columns.clear();
    for (name, page) in [("sweep", data(300)), ("row", data(1)), ("run", single), ("empty", PageData::default())] {
        let dom = dump(&browser, name, &report_page(&page).unwrap(), "#selftest");
        let found = inside(&dom, "id=\"selftest\"");
        assert!(found.ends_with("passed") && !found.contains("FAILED"), "{name}: {found}");
        assert_eq!(dom.contains("id=\"section-points\" aria-labelledby=\"title-points\" hidden"), page.rows.is_empty());
    }
}

#[test]
fn numbers_in_the_browser_are_those_of_the_tables() {
    let Some(browser) = browser() else {
        println!("SKIPPED: no chromium, chromium-browser or google-chrome is on PATH");
        return;
    };
    let dom = dump(&browser, "numbers", &report_page(&data(300)).unwrap(), "");
    let mut compared = 0;
    for cell in dom.split("<td ").skip(1) {
        let attribute = |name: &str| Some(cell.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
        let (Some(column), Some(Ok(raw))) = (attribute("data-column"), attribute("title").map(str::parse::<f64>))
        else {
            continue;
        };
        let shown = cell.split_once('>').unwrap().1.split_once('<').unwrap().0;
        // Counts of cycles are whole, and settings stand as they were written.
        if !matches!(column, "stall_cycles" | "channels" | "batch" | "name") {
            assert_eq!(shown, units::metric(column, raw).1, "{column} {raw}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}
