"use strict";
// Which rows are shown, and in which order.

/**
 * A filter's text as a test of a row: null where it is empty, undefined where it makes no sense.
 *
 * `>1e-3`, `<=2 ms`, `=4`, `!=4`, `4..8`, `4..`, and otherwise a text that the cell contains; `=text` and `!=text` for a whole text;
 * `a | b` for either.
 */
function parseFilter(text, column) {
  if (text.trim() === "") return null;
  const tests = text.split("|").map((part) => parseTerm(part.trim(), column));
  if (tests.includes(undefined)) return undefined;
  return (row) => tests.some((test) => test(row));
}

function parseTerm(text, column) {
  if (text === "") return undefined;
  const range = column.numeric && /^(.*?)\.\.(.*)$/.exec(text);
  if (range && (range[1].trim() || range[2].trim())) {
    const low = range[1].trim() ? parseNumber(range[1], column) : -Infinity;
    const high = range[2].trim() ? parseNumber(range[2], column) : Infinity;
    if (low === undefined || high === undefined) return undefined;
    return (row) => numberAt(column, row) >= low && numberAt(column, row) <= high;
  }
  const compared = /^(>=|<=|!=|=|>|<)\s*(.*)$/.exec(text);
  if (compared && (column.numeric || compared[1].endsWith("="))) {
    const [, sign, operand] = compared;
    const bound = column.numeric ? parseNumber(operand, column) : undefined;
    if (bound !== undefined) {
      const holds = {
        ">": (v) => v > bound, "<": (v) => v < bound, ">=": (v) => v >= bound, "<=": (v) => v <= bound,
        "=": (v) => v === bound, "!=": (v) => v !== bound,
      }[sign];
      return (row) => holds(numberAt(column, row));
    }
    if (sign !== "=" && sign !== "!=") return undefined;
    const whole = operand.toLowerCase();
    return (row) => (textAt(column, row).toLowerCase() === whole) === (sign === "=");
  }
  const part = text.toLowerCase();
  return (row) => textAt(column, row).toLowerCase().includes(part) || rawAt(column, row).toLowerCase().includes(part);
}

/** Sorts first numbers, then texts; what has neither comes last in either direction. */
function order(rows, sort) {
  if (!sort) return rows;
  const { values } = sort.column;
  const rank = (v) => (typeof v === "number" && !Number.isNaN(v) ? 0 : typeof v === "string" ? 1 : 2);
  const collator = new Intl.Collator("en", { numeric: true });
  const sign = sort.down ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    const [rx, ry] = [rank(x), rank(y)];
    if (rx === 2 || ry === 2) return rx - ry || a - b;
    if (rx !== ry) return sign * (rx - ry);
    const difference = rx === 0 ? (x > y) - (x < y) : collator.compare(x, y);
    return sign * difference || a - b;
  });
}

/** Finds the rows to show and tells everyone. */
function applyFilters() {
  const tests = [...state.brushes.values()];
  for (const [column, text] of state.filters) {
    const test = parseFilter(text, column);
    if (test) tests.push(test);
  }
  if (state.which === "results") tests.push((row) => ERRORS[row] === null);
  if (state.which === "errors") tests.push((row) => ERRORS[row] !== null);
  const rows = [];
  for (let row = 0; row < ROWS; row++) {
    const passes = tests.every((test) => test(row));
    state.passes[row] = passes ? 1 : 0;
    if (passes) rows.push(row);
  }
  state.shown = order(rows, state.sort);
  onShown.forEach((react) => react());
}

/** The columns and rows that are shown, as CSV with `\n` line ends. */
function csvText(columns) {
  const quoted = (text) => (/[",\n\r#]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const cell = (column, row) => {
    const value = column.values[row];
    return typeof value === "number" && !Number.isFinite(value) ? "" : quoted(rawAt(column, row));
  };
  const lines = [columns.map((c) => quoted(c.name)).join(",")];
  for (const row of state.shown) lines.push(columns.map((c) => cell(c, row)).join(","));
  return `${lines.join("\n")}\n`;
}
