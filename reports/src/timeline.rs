//! A run's timeline as Chrome trace events, which Perfetto (<https://ui.perfetto.dev>) opens.
//!
//! Format: "Trace Event Format", complete (`X`) and metadata (`M`) events. A group of lanes is a process and a lane is a
//! thread, both named by metadata and kept in the order of first appearance. Times are microseconds from the run's start, in
//! whole nanoseconds, because that is what Perfetto keeps: it would round a start and a duration apart, and so make neighbours
//! overlap.
//!
//! A viewer nests the events of one thread by containment; two that overlap in part have no meaning there. A lane whose spans
//! overlap in part is therefore spread over as many threads as it needs (`channel 0`, `channel 0 (2)`, ...), each span on the
//! first thread on which it fits: after all others, or wholly inside one that is open.

use serde_json::{Map, Value, json};

use crate::{ReportError, RunReport, TimelineSpan};

/// The trace as JSON text, one event a line: `{"displayTimeUnit":"ns","otherData":{...},"traceEvents":[...]}`.
///
/// # Errors
/// The JSON writer fails.
pub fn chrome_trace(report: &RunReport) -> Result<String, ReportError> {
    let json = |source| ReportError::Json { what: "timeline", source };
    let other = json!({
        "program": concat!("banksia ", env!("CARGO_PKG_VERSION")),
        "experiment": report.name,
        "configuration_sha256": report.configuration_sha256,
    });
    let other = serde_json::to_string(&other).map_err(json)?;
    let mut out = format!("{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[\n");
    let events = events(&report.timeline);
    for (i, event) in events.iter().enumerate() {
        out += &serde_json::to_string(event).map_err(json)?;
        out += if i + 1 == events.len() { "\n" } else { ",\n" };
    }
    out += "]}\n";
    Ok(out)
}

/// A thread of the trace: the ends of the spans still open on it, outermost first, and the start of the last one.
struct Thread {
    tid: usize,
    latest_start: i64,
    open_ends: Vec<i64>,
}

/// The spans of one lane, as `(start, end, span)` in nanoseconds.
struct Lane<'a> {
    name: &'a str,
    spans: Vec<(i64, i64, &'a TimelineSpan)>,
}

fn events(timeline: &[TimelineSpan]) -> Vec<Value> {
    let mut groups: Vec<(&str, Vec<Lane<'_>>)> = Vec::new();
    for span in timeline {
        let group = index_or_push(&mut groups, |(name, _)| *name == span.group, || (&span.group, Vec::new()));
        let lanes = &mut groups[group].1;
        let lane = index_or_push(lanes, |lane| lane.name == span.lane, || Lane { name: &span.lane, spans: Vec::new() });
        let nanoseconds = |seconds: f64| (seconds * 1e9).round() as i64;
        let start = nanoseconds(span.start_s);
        lanes[lane].spans.push((start, nanoseconds(span.start_s + span.duration_s).max(start), span));
    }
    let mut events = Vec::with_capacity(timeline.len() + 16);
    for (group, (group_name, lanes)) in groups.iter_mut().enumerate() {
        let pid = group + 1;
        events.push(metadata("process_name", pid, 0, &json!({ "name": group_name })));
        events.push(metadata("process_sort_index", pid, 0, &json!({ "sort_index": group })));
        let mut next_tid = 1;
        for lane in lanes {
            write_lane(lane, pid, &mut next_tid, &mut events);
        }
    }
    events
}

/// Linear search: a trace has few groups and lanes, and their order of appearance is kept.
fn index_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    // Spans of one lane mostly follow each other or take turns, so look from the end.
    items.iter().rposition(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    })
}

fn write_lane(lane: &mut Lane<'_>, pid: usize, next_tid: &mut usize, events: &mut Vec<Value>) {
    // Outer spans before those inside them, so that containment is seen in order.
    lane.spans.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
    let mut threads: Vec<Thread> = Vec::new();
    for &(start, end, span) in &lane.spans {
        let found = threads.iter_mut().enumerate().find_map(|(i, thread)| Some((i, thread.admit(start, end)?)));
        let (index, start) = found.unwrap_or_else(|| {
            let tid = *next_tid;
            *next_tid += 1;
            let number = threads.len() + 1;
            let name = if number == 1 { lane.name.to_owned() } else { format!("{} ({number})", lane.name) };
            events.push(metadata("thread_name", pid, tid, &json!({ "name": name })));
            events.push(metadata("thread_sort_index", pid, tid, &json!({ "sort_index": tid })));
            threads.push(Thread { tid, latest_start: start, open_ends: Vec::new() });
            (threads.len() - 1, start)
        });
        let end = end.max(start);
        threads[index].open_ends.push(end);
        events.push(complete(span, start, end, pid, threads[index].tid));
    }
}

impl Thread {
    /// The start that a span gets on this thread, or `None` where it overlaps in part with one that is open there.
    ///
    /// An overlap of one nanosecond is what rounding leaves of two spans that touch: the later one then starts there.
    fn admit(&mut self, start: i64, end: i64) -> Option<i64> {
        // Spans come in order of their starts, so this moves one only where rounding moved the one before it.
        let start = start.max(self.latest_start);
        let end = end.max(start);
        while self.open_ends.last().is_some_and(|&open| open <= start) {
            self.open_ends.pop();
        }
        let ended_by = |open: i64| open <= start.saturating_add(1) && end > open;
        let still_open = self.open_ends.iter().rposition(|&open| !ended_by(open)).map_or(0, |i| i + 1);
        if still_open > 0 && end > self.open_ends[still_open - 1] {
            return None;
        }
        let latest_end = self.open_ends.drain(still_open..).max();
        self.latest_start = latest_end.map_or(start, |latest| latest.max(start));
        Some(self.latest_start)
    }
}

fn complete(span: &TimelineSpan, start: i64, end: i64, pid: usize, tid: usize) -> Value {
    let microseconds = |ns: i64| ns as f64 / 1e3;
    let (ts, dur) = (microseconds(start), microseconds(end.saturating_sub(start)));
    let mut event =
        json!({ "ph": "X", "name": span.name, "cat": span.group, "pid": pid, "tid": tid, "ts": ts, "dur": dur });
    if let (false, Some(object)) = (span.details.is_empty(), event.as_object_mut()) {
        let details: Map<String, Value> =
            span.details.iter().map(|(key, value)| (key.clone(), detail(value))).collect();
        object.insert("args".into(), Value::Object(details));
    }
    event
}

/// A number as a number, so that a viewer's queries can add it up.
fn detail(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

fn metadata(kind: &str, pid: usize, tid: usize, args: &Value) -> Value {
    json!({ "ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args })
}
