"use strict";
// Parallel coordinates: a line for each row through its values. A brush on an axis filters everything.

/** At most so many lines are drawn; of more, every so-many-th. */
const LINES = 3000;

const parallel = {
  chosen: [], logs: new Map(), axes: [], xs: [], ranges: new Map(), drag: null, top: 8, bottom: 330, shown: [],

  start() {
    const usable = COLUMNS.filter((c) => c.varies && c.kind !== "text");
    const settings = usable.filter((c) => c.kind === "setting").slice(0, 7);
    const results = usable.filter((c) => c.kind === "result" && c.numeric).slice(0, Math.max(2, 9 - settings.length));
    this.chosen = [...settings, ...results.slice(0, 4)];
    usable.forEach((c) => this.logs.set(c, spansDecades(c)));
    const box = (c) => {
      const input = element("input", { type: "checkbox", "data-axis": c.name, onchange: () => {
        this.chosen = usable.filter((u) => (u === c ? input.checked : this.chosen.includes(u)));
        if (!input.checked) this.clear(c);
        redraw(this.draw);
      } });
      input.checked = this.chosen.includes(c);
      return element("label", {}, input, ` ${c.name}`);
    };
    byId("axes-list").replaceChildren(...usable.map(box));
    const canvas = byId("parallel-canvas");
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.drop(event));
    onShown.push(() => redraw(this.draw));
    onSelected.push(() => redraw(this.draw));
    redraw(this.draw);
  },

  draw: () => {
    const self = parallel;
    const { context, width, height } = surface(byId("parallel-canvas"), 362, 76 * self.chosen.length + 60);
    const colours = ink();
    self.bottom = height - 14;
    self.axes = self.chosen.map((c) => makeAxis(c, { log: self.logs.get(c), places: true, room: 6 }));
    const n = self.axes.length;
    const [left, right] = [60, width - 70];
    self.xs = self.axes.map((_, i) => (n > 1 ? left + (i * (right - left)) / (n - 1) : (left + right) / 2));
    self.lines(context, colours);
    self.axes.forEach((axis, i) => self.axis(context, colours, axis, self.xs[i], i + 1 < n ? self.xs[i + 1] - self.xs[i] : 70));
    self.heads();
    const drawn = self.shown.length;
    const of = drawn < state.shown.length ? `; ${count(drawn)} of them are drawn` : "";
    const brushed = self.ranges.size ? ` Brushed: ${[...self.ranges.keys()].map((c) => c.name).join(", ")}.` : "";
    byId("parallel-note").textContent = `${several(state.shown.length, "row")}${of}.${brushed}`;
    byId("parallel-canvas").setAttribute("aria-label",
      `Parallel coordinates of ${self.chosen.map((c) => c.name).join(", ")}: ${state.shown.length} rows.`);
  },

  y(at) {
    return this.bottom - at * (this.bottom - this.top);
  },

  lines(context, colours) {
    const every = (rows, most) => {
      const step = Math.max(1, Math.ceil(rows.length / most));
      return step === 1 ? rows : rows.filter((_, i) => i % step === 0);
    };
    const trace = (row) => {
      context.beginPath();
      let down = false;
      this.axes.forEach((axis, i) => {
        const at = axis.positions[row];
        // A line breaks where a value is missing.
        if (Number.isNaN(at)) down = false;
        else if (down) context.lineTo(this.xs[i], this.y(at));
        else {
          context.moveTo(this.xs[i], this.y(at));
          down = true;
        }
      });
      context.stroke();
    };
    const behind = [];
    for (let row = 0; row < ROWS; row++) if (!state.passes[row]) behind.push(row);
    context.lineWidth = 1;
    context.strokeStyle = colours.faint;
    context.globalAlpha = 0.15;
    every(behind, LINES / 3).forEach(trace);
    this.shown = every(state.shown, LINES);
    context.globalAlpha = Math.max(0.12, Math.min(0.8, 60 / Math.max(1, this.shown.length)));
    for (const row of this.shown) {
      context.strokeStyle = scatter.colours.of(row);
      trace(row);
    }
    context.globalAlpha = 1;
    if (state.selected >= 0) {
      context.strokeStyle = colours.mark;
      context.lineWidth = 2.5;
      trace(state.selected);
    }
  },

  axis(context, colours, axis, x, room) {
    context.strokeStyle = colours.soft;
    context.lineWidth = 1;
    line(context, x, this.top, x, this.bottom);
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const tick of axis.ticks) {
      const y = this.y(tick.at);
      line(context, x, y, x + 4, y);
      const text = fit(context, tick.text, Math.max(24, room - 14));
      // Lines run behind the text.
      context.strokeStyle = colours.ground;
      context.lineWidth = 3;
      context.strokeText(text, x + 7, y);
      context.fillStyle = colours.text;
      context.fillText(text, x + 7, y);
      context.strokeStyle = colours.soft;
      context.lineWidth = 1;
    }
    const range = this.ranges.get(axis.column);
    if (range) {
      const [top, bottom] = [this.y(range[1]), this.y(range[0])];
      context.fillStyle = colours.mark;
      context.globalAlpha = 0.2;
      context.fillRect(x - 8, top, 16, bottom - top);
      context.globalAlpha = 1;
      context.strokeStyle = colours.mark;
      context.lineWidth = 1.5;
      context.strokeRect(x - 8, top, 16, bottom - top);
    }
  },

  /** The names above the axes: buttons, which turn the logarithm on and off and take the keys of a brush. */
  heads() {
    const focused = document.activeElement && document.activeElement.dataset.head;
    const room = this.xs.length > 1 ? this.xs[1] - this.xs[0] : 140;
    byId("parallel-heads").style.width = byId("parallel-canvas").style.width;
    byId("parallel-heads").replaceChildren(...this.axes.map((axis, i) => {
      const { column } = axis;
      const switchable = column.numeric && axis.kind !== "places";
      const text = column.name.replaceAll("_", "_\u200b").replaceAll(".", ".\u200b") + (axis.kind === "log" ? " (log)" : "");
      const title = `${column.name}. ${switchable ? "Click for a logarithmic or linear axis. " : ""}Keys: up and down move a brush, + and - size it, Escape clears it.`;
      return element("button", {
        type: "button", "data-head": column.name, title, class: this.ranges.has(column) ? "brushed" : null,
        style: `left:${this.xs[i]}px;width:${Math.max(50, Math.min(140, room - 4))}px`,
        onclick: () => switchable && this.turn(column), onkeydown: (event) => this.key(event, column),
      }, text);
    }));
    if (focused) [...byId("parallel-heads").children].find((b) => b.dataset.head === focused)?.focus();
  },

  turn(column) {
    this.logs.set(column, !this.logs.get(column));
    this.clear(column);
    redraw(this.draw);
  },

  key(event, column) {
    if (event.key === "Escape" || event.key === "Delete") return this.clear(column);
    const [low, high] = this.ranges.get(column) || [0.75, 1];
    const move = { ArrowUp: [0.05, 0.05], ArrowDown: [-0.05, -0.05], "+": [-0.025, 0.025], "-": [0.025, -0.025] }[event.key];
    if (!move) return undefined;
    event.preventDefault();
    const [from, to] = this.ranges.has(column) ? [low + move[0], high + move[1]] : [low, high];
    if (to > from && to > 0 && from < 1) this.brush(column, from, to);
    return undefined;
  },

  /** Lets through the rows between two places of an axis, from 0 to 1. */
  brush(column, low, high) {
    const { positions } = this.axes.find((axis) => axis.column === column);
    this.ranges.set(column, [Math.max(0, low), Math.min(1, high)]);
    state.brushes.set(column, (row) => positions[row] >= low - 1e-9 && positions[row] <= high + 1e-9);
    applyFilters();
  },

  clear(column) {
    if (!this.ranges.delete(column)) return;
    state.brushes.delete(column);
    applyFilters();
  },

  grab(event) {
    const [x, y] = place(event, byId("parallel-canvas"));
    const i = this.xs.findIndex((at) => Math.abs(at - x) <= 16);
    if (i < 0) return;
    const { column } = this.axes[i];
    const at = this.at(y);
    const range = this.ranges.get(column);
    const inside = range && at > range[0] && at < range[1];
    this.drag = { column, from: at, moved: false, range: inside ? range : null };
    try {
      byId("parallel-canvas").setPointerCapture(event.pointerId);
    } catch {
      // A pointer that a test made up cannot be captured, and need not be.
    }
  },

  at(y) {
    return Math.min(1, Math.max(0, (this.bottom - y) / (this.bottom - this.top)));
  },

  move(event) {
    if (!this.drag) return;
    const at = this.at(place(event, byId("parallel-canvas"))[1]);
    const { column, from, range } = this.drag;
    if (Math.abs(at - from) * (this.bottom - this.top) > 3) this.drag.moved = true;
    if (!this.drag.moved) return;
    // A drag that begins inside a brush moves it.
    if (range) {
      const by = Math.min(1 - range[1], Math.max(-range[0], at - from));
      this.brush(column, range[0] + by, range[1] + by);
    } else this.brush(column, Math.min(from, at), Math.max(from, at));
  },

  drop() {
    if (this.drag && !this.drag.moved) this.clear(this.drag.column);
    this.drag = null;
  },
};
