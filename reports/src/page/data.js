"use strict";
// The data of the page, and what the reader has done to them.

const DATA = JSON.parse(byId("data").textContent);
const ROWS = DATA.rows;

/** Why each row has no result, where it has none. */
const ERRORS = new Array(ROWS).fill(null);

const SPECIAL = { nan: NaN, inf: Infinity, "-inf": -Infinity };

function decode(source, index) {
  const value = (cell) => {
    if (!Array.isArray(cell)) return cell;
    return cell[0] === "error" ? { error: cell[1] } : SPECIAL[cell[0]];
  };
  const different = source.values.map(value);
  const values = source.indices ? source.indices.map((i) => different[i]) : different;
  values.forEach((v, row) => {
    if (v !== null && typeof v === "object") ERRORS[row] = v.error;
  });
  const column = { name: source.name, kind: source.kind, unit: source.unit, better: source.better, index, values };
  column.numeric = source.kind !== "text" && different.some((v) => typeof v === "number");
  const usable = different.filter((v) => v !== null && typeof v !== "object");
  column.varies = usable.some((v) => !Object.is(v, usable[0]));
  column.everywhere = different.length > 0 && usable.length === different.length;
  return column;
}

const COLUMNS = DATA.columns.map(decode);

/** A cell as a number; NaN where it is none. */
const numberAt = (column, row) => (typeof column.values[row] === "number" ? column.values[row] : NaN);

/** A cell as it is shown. */
function textAt(column, row) {
  const value = column.values[row];
  if (value === null) return "";
  if (typeof value === "number") return shownNumber(column, value);
  return typeof value === "string" ? value : value.error;
}

/** A cell as it is written into a CSV file and shown when hovered. */
function rawAt(column, row) {
  const value = column.values[row];
  if (value === null) return "";
  return typeof value === "object" ? value.error : String(value);
}

/** What to call a row: its first text, or its number. */
const NAMING = COLUMNS.find((c) => c.kind === "text" && c.varies) || COLUMNS.find((c) => c.kind === "text");
const rowName = (row) => (NAMING && typeof NAMING.values[row] === "string" && NAMING.values[row]) || `row ${row + 1}`;

const state = {
  /** By column: the filter's text. */
  filters: new Map(),
  /** By column: what a brush on its axis lets through, a test of a row. */
  brushes: new Map(),
  /** `all`, `results` or `errors`. */
  which: "all",
  /** `{ column, down }`, or null for the order of the data. */
  sort: null,
  /** Rows that pass, in the table's order; and the same as flags. */
  shown: Array.from({ length: ROWS }, (_, i) => i),
  passes: new Uint8Array(ROWS).fill(1),
  /** A row, or -1. */
  selected: -1,
};

// What the parts of the page do when the rows shown, or the one selected, change.
const onShown = [];
const onSelected = [];

function select(row, by) {
  state.selected = row;
  onSelected.forEach((react) => react(row, by));
}
