"use strict";
// The table of points. Only the rows in sight are in the document.

const ROW = 26;
/** Rows drawn beyond the edges, so that a small scroll shows no gap. */
const SPARE = 8;
/** Rows of a printed page's table. */
const PRINTED = 120;

const table = {
  visible: new Set(),
  from: -1,
  to: -1,
  inputs: new Map(),

  start() {
    // What is the same everywhere is said once instead of in a column.
    const constant = (c) => ROWS > 1 && c.kind !== "result" && !c.varies && c.everywhere;
    COLUMNS.forEach((c) => constant(c) || this.visible.add(c));
    const same = COLUMNS.filter(constant);
    if (same.length) {
      byId("constants").textContent = `The same in every point: ${same.map((c) => `${c.name} = ${textAt(c, 0)}`).join(", ")}`;
      byId("constants").hidden = false;
    }
    this.head();
    this.chooser();
    byId("table-scroll").addEventListener("scroll", () => this.body());
    byId("table-scroll").addEventListener("keydown", (event) => this.key(event));
    byId("points-body").addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) select(Number(row.dataset.row), "table");
    });
    byId("csv").addEventListener("click", () => download("points.csv", "text/csv", csvText(this.columns())));
    byId("which").addEventListener("change", (event) => {
      state.which = event.target.value;
      applyFilters();
    });
    onShown.push(() => this.shown());
    onSelected.push((row, by) => this.selected(row, by));
  },

  columns() {
    return COLUMNS.filter((c) => this.visible.has(c));
  },

  /** Widths in characters, by the header and a sample of cells. */
  width(column) {
    let longest = column.name.length + 3;
    for (let row = 0; row < ROWS; row += Math.max(1, Math.floor(ROWS / 300))) {
      if (ERRORS[row] === null) longest = Math.max(longest, textAt(column, row).length);
    }
    return Math.min(36, Math.max(8, longest)) * 7.4 + 18;
  },

  head() {
    const columns = this.columns();
    const number = Math.max(44, String(ROWS).length * 8 + 30);
    const widths = [number, ...columns.map((c) => this.width(c))];
    byId("points-widths").replaceChildren(...widths.map((w) => element("col", { style: `width:${w}px` })));
    byId("points").style.width = `${widths.reduce((a, b) => a + b, 0)}px`;
    byId("points").setAttribute("aria-colcount", columns.length + 1);
    const title = (c) => {
      const direction = c.better ? `; ${c.better} is better` : "";
      const unit = c.unit && c.unit[0] !== "share" && c.unit[1] ? ` in ${c.unit[1]}` : "";
      return `${c.name}: ${c.kind}${unit}${direction}. Click to sort.`;
    };
    const sorts = columns.map((c) => element(
      "th", { scope: "col", "data-column": c.name, "aria-sort": "none", class: c.numeric ? "number" : null },
      element("button", { type: "button", title: title(c), onclick: () => this.sort(c) }, c.name)));
    this.inputs.clear();
    const filters = columns.map((c) => {
      const input = element("input", {
        type: "search", "data-filter": c.name, "aria-label": `Filter ${c.name}`, autocomplete: "off", spellcheck: "false",
        placeholder: c.numeric ? "> 4, 4..8" : "contains", oninput: () => this.filter(c, input.value),
      });
      input.value = state.filters.get(c) || "";
      this.inputs.set(c, input);
      return element("th", {}, input);
    });
    const corner = element("th", { class: "row-number", scope: "col", "data-column": "#" },
      element("button", { type: "button", title: "The order of the data", onclick: () => this.sort(null) }, "#"));
    byId("points-head").replaceChildren(
      element("tr", {}, corner, ...sorts), element("tr", {}, element("th", { class: "row-number" }), ...filters));
    this.marks();
  },

  /** Arrows in the headers and marks at filters. */
  marks() {
    for (const head of byId("points-head").querySelectorAll("th[data-column]")) {
      const sorted = state.sort && state.sort.column.name === head.dataset.column;
      const button = head.firstElementChild;
      const name = head.dataset.column;
      button.textContent = sorted ? `${name} ${state.sort.down ? "▼" : "▲"}` : name;
      if (name !== "#") head.setAttribute("aria-sort", !sorted ? "none" : state.sort.down ? "descending" : "ascending");
    }
    for (const [column, input] of this.inputs) {
      const text = state.filters.get(column) || "";
      input.setAttribute("aria-invalid", parseFilter(text, column) === undefined);
      input.classList.toggle("active", text.trim() !== "");
    }
  },

  sort(column) {
    if (!column) state.sort = null;
    else if (!state.sort || state.sort.column !== column) state.sort = { column, down: false };
    else state.sort = state.sort.down ? null : { column, down: true };
    applyFilters();
  },

  filter(column, text) {
    if (text === "") state.filters.delete(column);
    else state.filters.set(column, text);
    applyFilters();
  },

  shown() {
    const total = count(ROWS);
    const errors = state.shown.filter((row) => ERRORS[row] !== null).length;
    const failed = errors ? `, ${count(errors)} of them without a result` : "";
    byId("count").textContent = `${count(state.shown.length)} of ${total} rows shown${failed}`;
    byId("points").setAttribute("aria-rowcount", state.shown.length + 2);
    byId("reset").disabled = state.filters.size + state.brushes.size === 0 && state.which === "all";
    this.marks();
    this.from = -1;
    this.body();
  },

  /** Puts the rows in sight into the document, between two spacers. */
  body() {
    const box = byId("table-scroll");
    const all = state.shown.length;
    const room = scheme.printing ? PRINTED - SPARE : Math.ceil((box.clientHeight || 560) / ROW) + 2 * SPARE;
    const first = scheme.printing ? 0 : Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    // An even start keeps a scroll of one row from changing everything.
    const from = Math.min(first - (first % SPARE), Math.max(0, all - 1));
    const to = Math.min(all, from + room + SPARE);
    if (from === this.from && to === this.to) return;
    [this.from, this.to] = [from, to];
    const rest = scheme.printing && to < all;
    byId("printed").textContent = rest ? `The first ${count(to)} of the ${count(all)} rows shown.` : "";
    const columns = this.columns();
    const spacer = (rows) => element("tr", { class: "spacer", "aria-hidden": "true" },
      element("td", { colspan: columns.length + 1, style: `height:${rows * ROW}px` }));
    const rows = state.shown.slice(from, to).map((row, i) => this.row(row, from + i, columns));
    if (all === 0) rows.push(element("tr", {}, element("td", { colspan: columns.length + 1, class: "absent" }, "No row passes the filters.")));
    const above = !scheme.printing && from > 0 ? [spacer(from)] : [];
    const below = !scheme.printing && to < all ? [spacer(all - to)] : [];
    byId("points-body").replaceChildren(...above, ...rows, ...below);
  },

  row(row, position, columns) {
    const error = ERRORS[row];
    let covered = 0;
    const cells = columns.map((c, i) => {
      const value = c.values[row];
      const raw = rawAt(c, row);
      const failed = value !== null && typeof value === "object";
      // An error takes the room of the results that it is there instead of.
      if (i < covered) return "";
      covered = i + 1;
      while (failed && covered < columns.length && columns[covered].values[row] === null) covered++;
      const kind = failed ? "failed" : typeof value === "number" ? (Number.isFinite(value) ? "number" : "number absent") : c.numeric ? "number" : null;
      return element("td", { class: kind, colspan: covered > i + 1 ? covered - i : null, title: raw || null, "data-column": c.name }, textAt(c, row));
    });
    const head = element("th", { class: "row-number", scope: "row", title: error }, error === null ? `${row + 1}` : `✗ ${row + 1}`);
    return element("tr", {
      "data-row": row, "aria-rowindex": position + 3, class: error === null ? null : "error",
      "aria-selected": row === state.selected ? "true" : null, "data-error": error,
    }, head, ...cells);
  },

  key(event) {
    if (event.target !== byId("table-scroll") || state.shown.length === 0) return;
    const page = Math.max(1, Math.floor(byId("table-scroll").clientHeight / ROW) - 3);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = state.shown.indexOf(state.selected);
    const to = at < 0 && Number.isFinite(step) ? 0 : Math.min(state.shown.length - 1, Math.max(0, at + step));
    select(state.shown[to], "keys");
  },

  selected(row, by) {
    const position = state.shown.indexOf(row);
    const box = byId("table-scroll");
    if (by !== "table" && position >= 0) {
      const top = position * ROW;
      const sight = box.clientHeight - 3 * ROW;
      if (top < box.scrollTop || top + ROW > box.scrollTop + sight) box.scrollTop = Math.max(0, top - sight / 2);
    }
    this.from = -1;
    this.body();
    const line = byId("selection");
    if (row < 0) return line.replaceChildren();
    const run = DATA.reports.findIndex((r) => r.name === rowName(row));
    line.replaceChildren(
      element("strong", {}, `Row ${row + 1}: ${rowName(row)}`), position < 0 ? " (not shown by the filters)" : "",
      ...(ERRORS[row] === null ? [] : [" ", element("span", { class: "error" }, ERRORS[row])]),
      ...(run < 0 ? [] : [" ", element("button", { type: "button", onclick: () => runs.go(run) }, "Its operators")]));
  },

  chooser() {
    const box = (c) => {
      const input = element("input", { type: "checkbox", "data-choose": c.name, onchange: () => this.choose([c], input.checked) });
      input.checked = this.visible.has(c);
      return element("label", {}, input, ` ${c.name}`);
    };
    const button = (text, on) => element("button", { type: "button", onclick: () => {
      this.choose(COLUMNS, on);
      this.chooser();
    } }, text);
    byId("chooser-list").replaceChildren(
      element("div", { class: "all" }, button("All", true), button("None", false)), ...COLUMNS.map(box));
    this.choose([], true);
  },

  choose(columns, on) {
    columns.forEach((c) => (on ? this.visible.add(c) : this.visible.delete(c)));
    byId("chooser-summary").textContent = `Columns (${this.visible.size} of ${COLUMNS.length})`;
    if (columns.length === 0) return;
    // A filter that nobody sees would be a riddle.
    if (!on) columns.forEach((c) => state.filters.delete(c));
    this.head();
    applyFilters();
  },
};
