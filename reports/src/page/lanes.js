"use strict";
// The spans of a timeline on lanes: spans of one lane that overlap lie on rows of it.

/** At most so many rows a lane; what overlaps more deeply lies on the last. */
const DEPTH = 100;
/** Two spans that touch may overlap by what rounding to a picosecond leaves. */
const TOUCH_NS = 0.0015;

function arrange(source) {
  const starts = Float64Array.from(source.start_ns);
  const ends = starts.map((start, i) => start + source.duration_ns[i]);
  const lanes = source.lanes.map(([group, name]) => ({ group, name, rows: [], spans: [] }));
  source.lane.forEach((lane, i) => lanes[lane].spans.push(i));
  for (const lane of lanes) {
    // An outer span before those inside it.
    lane.spans.sort((a, b) => starts[a] - starts[b] || ends[b] - ends[a] || a - b);
    const open = [];
    for (const i of lane.spans) {
      let row = open.findIndex((end) => end <= starts[i] + TOUCH_NS);
      if (row < 0) row = Math.min(open.length, DEPTH - 1);
      open[row] = Math.max(open[row] ?? -Infinity, ends[i]);
      (lane.rows[row] ??= []).push(i);
    }
  }
  const groups = [];
  for (const lane of lanes) {
    let group = groups.find((g) => g.name === lane.group);
    if (!group) groups.push(group = { name: lane.group, lanes: [], folded: false });
    group.lanes.push(lane);
  }
  const [from] = extent(starts);
  const [, to] = extent(ends);
  return { source, starts, ends, groups, from: Math.min(0, from), to: to > Math.min(0, from) ? to : from + 1, tint: tints(source) };
}

/** A number of the palette for each name: those that take longest get colours of their own. */
function tints(source) {
  const total = new Float64Array(source.names.length);
  source.name_of.forEach((name, i) => {
    total[name] += source.duration_ns[i];
  });
  const ranks = new Array(source.names.length);
  [...total.keys()].sort((a, b) => total[b] - total[a] || a - b).forEach((name, rank) => {
    ranks[name] = rank;
  });
  return ranks;
}

/** The first of a row's spans that ends after a time. */
function firstAfter(row, ends, time) {
  let [low, high] = [0, row.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[row[middle]] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A time of the timeline, exact to what a span of time needs. */
function timeText(ns, within) {
  const [scale, prefix] = prefixFor(Math.max(Math.abs(ns), within) * 1e-9 || 1);
  const decimals = Math.max(0, Math.min(9, Math.ceil(-Math.log10((within * 1e-9) / scale) + 1e-9)));
  return `${((ns * 1e-9) / scale).toFixed(decimals)} ${prefix}s`;
}
