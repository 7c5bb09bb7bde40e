"use strict";
// Numbers as `banksia_reports::units` writes them; a test compares the two.

const PREFIXES = [
  [1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""],
  [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"],
];

function prefixFor(magnitude) {
  // A magnitude one rounding error below a power of ten belongs to it.
  const near = magnitude * (1 + 4 * Number.EPSILON);
  return PREFIXES.find(([scale]) => near >= scale) || PREFIXES[PREFIXES.length - 1];
}

const scientific = (value) => value.toExponential(3).replace("e+", "e");

function fourDigits(value) {
  const size = Math.abs(value);
  return value.toFixed(size < 9.9995 ? 3 : size < 99.995 ? 2 : 1);
}

/** With an SI prefix and four significant digits. */
function quantity(value, unit) {
  if (!Number.isFinite(value)) return "n/a";
  if (value === 0) return `0 ${unit}`.trimEnd();
  if (unit === "B" && Math.abs(value) < 1e3 && Number.isInteger(value)) return `${value} B`;
  let [scale, prefix] = prefixFor(Math.abs(value));
  if (Math.abs(value / scale) >= 999.95) [scale, prefix] = prefixFor(scale * 1e3);
  const scaled = value / scale;
  if (Math.abs(scaled) < 0.000999 || Math.abs(scaled) >= 1000) return `${scientific(value)} ${unit}`.trimEnd();
  return `${fourDigits(scaled)} ${prefix}${unit}`.trimEnd();
}

/** Plain, with four significant digits and thousands separators. */
function number(value) {
  if (!Number.isFinite(value)) return "n/a";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e15) return scientific(value);
  if (size >= 999.95) return (value < 0 ? "-" : "") + count(Math.round(size));
  return size < 1 ? value.toFixed(4) : fourDigits(value);
}

const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

/** `1 row`, `2 rows`. */
const several = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

function percent(share) {
  return Number.isFinite(share) && Math.abs(share) < 1e6 ? `${(share * 100).toFixed(1)} %` : "n/a";
}

/** A number of a column. Settings stand as they were written. */
function shownNumber(column, value) {
  const [kind, unit] = column.unit || [column.kind === "setting" ? "raw" : "plain", ""];
  if (kind === "si") return quantity(value, unit);
  if (kind === "share") return percent(value);
  if (kind === "raw" && Number.isFinite(value)) return String(value);
  // Counts are whole: no decimals.
  const text = Number.isInteger(value) && Math.abs(value) < 1e15 ? number(value).replace(/\.0+$/, "") : number(value);
  return unit ? `${text} ${unit}` : text;
}

/** The same on an axis, where ticks are round: without zeros at the end. */
function tickText(column, value) {
  return shownNumber(column, value).replace(/(\.\d*?)0+(?=\s|e|$)/, "$1").replace(/\.(?=\s|e|$)/, "");
}

/** A name's unit by its ending, for what has no column. */
function named(name, value) {
  const units = [
    ["_bytes_per_s", "B/s"], ["_flops_per_s", "FLOP/s"], ["_per_s", "/s"], ["_bytes", "B"], ["_hz", "Hz"], ["_w", "W"],
    ["_j", "J"], ["_s", "s"],
  ];
  const words = (stem) => stem.replaceAll("_", " ");
  for (const [ending, unit] of units) {
    if (name.endsWith(ending)) return [words(name.slice(0, -ending.length)), quantity(value, unit)];
  }
  if (name.endsWith("_cycles")) return [words(name.slice(0, -7)), `${number(value)} cycles`];
  const share = /_(rate|utilization|share|fraction|efficiency|occupancy)$/.test(name);
  return [words(name), share ? percent(value) : number(value)];
}

/** A number as a person types it, in a column's unit: `1e-3`, `1.5 ms`, `2k`, `40 %`. Undefined where it is none. */
function parseNumber(text, column) {
  const found = /^\s*([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(.*?)\s*$/i.exec(text);
  if (!found) return undefined;
  const value = Number(found[1].replaceAll(",", ""));
  const [kind, unit] = column.unit || ["", ""];
  const rest = found[2];
  if (rest === "" || rest === unit) return value;
  if (kind === "share") return rest === "%" ? value / 100 : undefined;
  const prefix = unit && rest.endsWith(unit) ? rest.slice(0, -unit.length) : rest;
  const of = PREFIXES.find(([, name]) => name === (prefix === "u" ? "µ" : prefix));
  return of ? value * of[0] : undefined;
}
