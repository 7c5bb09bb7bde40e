"use strict";
// An axis: where each row lies on it, from 0 to 1, and its ticks.

/** Settings of at most so many values get a place for each. */
const PLACES = 12;

/** Whether a column's values span so much that a logarithm shows them better. */
function spansDecades(column) {
  const [low, high] = extent(column.values.filter((v) => Number.isFinite(v)));
  return low > 0 && high / low > 50;
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return [low, high];
}

/**
 * `log`: by logarithm where possible; `places`: a place for each value where a setting has few; `room`: about how many ticks.
 * The range is that of all rows, so that it does not move under a filter.
 */
function makeAxis(column, { log = false, places = false, room = 6, margin = 0 } = {}) {
  const usable = column.values.filter((v) => typeof v === "string" || Number.isFinite(v));
  const distinct = new Set(usable);
  const byPlace = !column.numeric || usable.some((v) => typeof v === "string") ||
    (places && column.kind === "setting" && distinct.size <= PLACES);
  const axis = byPlace ? placeAxis(column, distinct, room) : rangeAxis(column, usable, log, room, margin);
  axis.column = column;
  axis.positions = Float64Array.from(column.values, axis.of);
  return axis;
}

function placeAxis(column, distinct, room) {
  const values = [...distinct].sort((a, b) =>
    typeof a === typeof b ? (typeof a === "number" ? a - b : new Intl.Collator("en", { numeric: true }).compare(a, b))
      : typeof a === "number" ? -1 : 1);
  const at = new Map(values.map((v, i) => [v, (i + 0.5) / values.length]));
  const step = Math.ceil(values.length / Math.max(room, PLACES));
  const ticks = values.filter((_, i) => i % step === 0)
    .map((v) => ({ at: at.get(v), text: typeof v === "number" ? tickText(column, v) : v }));
  return { kind: "places", of: (v) => (at.has(v) ? at.get(v) : NaN), ticks };
}

function rangeAxis(column, values, log, room, margin) {
  const positive = values.filter((v) => v > 0);
  const isLog = log && positive.length > 0;
  let [low, high] = extent(isLog ? positive : values);
  if (low > high) [low, high] = [0, 1];
  if (isLog) [low, high] = [Math.log10(low), Math.log10(high)];
  else if (low > 0 && low < 0.25 * high) low = 0;
  if (low === high) {
    const around = isLog ? 0.5 : Math.abs(low) / 2 || 1;
    [low, high] = [low - around, high + around];
  }
  const room_ = (high - low) * margin;
  [low, high] = [low === 0 && !isLog ? 0 : low - room_, high + room_];
  const of = (v) => {
    if (!Number.isFinite(v) || (isLog && v <= 0)) return NaN;
    return ((isLog ? Math.log10(v) : v) - low) / (high - low);
  };
  const ticks = (isLog ? logTicks(low, high, room) : linearTicks(low, high, room))
    .map((v) => ({ at: of(v), text: tickText(column, v) }));
  return { kind: isLog ? "log" : "linear", of, ticks };
}

/** The round step, of 1, 2 and 5, that gives about so many ticks. */
function roundStep(range, room) {
  const least = range / Math.max(1, room);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least * 0.999);
}

function linearTicks(low, high, room) {
  const step = roundStep(high - low, room);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    // `3 * 0.1` is not 0.3.
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

function logTicks(low, high, room) {
  const ticks = [];
  const decades = high - low;
  // Below one decade a logarithm is nearly a line.
  if (decades < 0.7) return linearTicks(10 ** low, 10 ** high, room);
  const within = [[1, 2, 5], [1, 3], [1]].find((list) => list.length === 1 || decades * list.length <= room * 1.4);
  const every = Math.max(1, Math.ceil(decades / room));
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    if (power % every !== 0) continue;
    for (const m of within) {
      const exponent = power + Math.log10(m);
      if (exponent >= low - 1e-9 && exponent <= high + 1e-9) ticks.push(Number(`${m}e${power}`));
    }
  }
  return ticks;
}
