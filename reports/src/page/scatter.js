"use strict";
// Any column against any other. A click selects the row; the front is what no other row beats in both.

const scatter = {
  x: null, y: null, colour: null, colours: null, xs: new Float64Array(ROWS), ys: new Float64Array(ROWS), front: [], hovered: -1,

  start() {
    const varying = COLUMNS.filter((c) => c.varies || c.numeric);
    const groups = (list) => ["setting", "result", "text"]
      .map((kind) => [{ setting: "Settings", result: "Results", text: "Texts" }[kind], list.filter((c) => c.kind === kind).map((c) => [c.index, c.name])])
      .filter(([, of]) => of.length > 0);
    const results = COLUMNS.filter((c) => c.kind === "result" && c.varies && c.numeric);
    const settings = COLUMNS.filter((c) => c.kind === "setting" && c.varies);
    this.x = results[0] || varying[0] || COLUMNS[0];
    // Another kind of quantity says more than the same one per token.
    const unit = (c) => JSON.stringify(c.unit);
    this.y = results.find((c) => unit(c) !== unit(this.x)) || results[1] || varying[1] || this.x;
    this.colour = settings[0] || null;
    options(byId("scatter-x"), groups(varying), this.x.index);
    options(byId("scatter-y"), groups(varying), this.y.index);
    options(byId("scatter-colour"), [["-1", "none"], ...groups(COLUMNS.filter((c) => c.varies))], this.colour ? this.colour.index : -1);
    for (const axis of ["x", "y"]) {
      byId(`scatter-${axis}`).addEventListener("change", (event) => this.choose(axis, COLUMNS[event.target.value]));
      byId(`scatter-log-${axis}`).addEventListener("change", () => redraw(this.draw));
      byId(`better-${axis}`).addEventListener("change", () => redraw(this.draw));
      this.choose(axis, this[axis]);
    }
    byId("scatter-colour").addEventListener("change", (event) => this.paint(COLUMNS[event.target.value] || null));
    byId("pareto").addEventListener("change", (event) => {
      byId("pareto-better").hidden = !event.target.checked;
      redraw(this.draw);
    });
    const canvas = byId("scatter-canvas");
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("click", (event) => {
      const row = this.nearest(...place(event, canvas));
      if (row >= 0) select(row, "scatter");
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    onShown.push(() => redraw(this.draw));
    onSelected.push(() => redraw(this.draw));
    byId("pareto").checked = this.x.better !== null && this.y.better !== null && this.x !== this.y;
    byId("pareto-better").hidden = !byId("pareto").checked;
    this.paint(this.colour);
  },

  choose(axis, column) {
    this[axis] = column;
    byId(`scatter-log-${axis}`).checked = column.numeric && spansDecades(column);
    byId(`better-${axis}`).value = column.better || "low";
    redraw(this.draw);
  },

  paint(column) {
    this.colour = column;
    this.colours = colouring(column);
    byId("legend").replaceChildren(...this.colours.legend());
    redraw(this.draw, parallel.draw);
  },

  axes(width, height) {
    const of = (name, room) => makeAxis(this[name], { log: byId(`scatter-log-${name}`).checked, room, margin: 0.03 });
    return [of("x", width / 110), of("y", height / 50)];
  },

  draw: () => {
    const self = scatter;
    const { context, width, height } = surface(byId("scatter-canvas"), 380);
    const colours = ink();
    const [x, y] = self.axes(width, height);
    const widest = Math.max(...y.ticks.map((t) => context.measureText(t.text).width), 20);
    const box = { left: Math.min(130, widest) + 32, right: width - 14, top: 10, bottom: height - 44 };
    const px = (at) => box.left + at * (box.right - box.left);
    const py = (at) => box.bottom - at * (box.bottom - box.top);
    drawAxes(context, colours, box, x, y, px, py);
    for (let row = 0; row < ROWS; row++) {
      self.xs[row] = px(x.positions[row]);
      self.ys[row] = py(y.positions[row]);
    }
    const visible = (row) => !Number.isNaN(self.xs[row] + self.ys[row]);
    const size = ROWS > 5000 ? 2.5 : ROWS > 800 ? 3.2 : 4.2;
    context.globalAlpha = 0.35;
    for (let row = 0; row < ROWS; row++) {
      if (!state.passes[row] && visible(row)) drawMark(context, self.xs[row], self.ys[row], size * 0.6, colours.faint, "disc");
    }
    context.globalAlpha = ROWS > 2000 ? 0.75 : 0.9;
    const drawn = state.shown.filter(visible);
    for (const row of drawn) drawMark(context, self.xs[row], self.ys[row], size, self.colours.of(row), self.colours.shape(row));
    context.globalAlpha = 1;
    self.front = byId("pareto").checked ? paretoFront(drawn) : [];
    drawFront(context, self.front, colours);
    for (const [row, radius] of [[self.hovered, size + 3], [state.selected, size + 5]]) {
      if (row < 0 || !visible(row)) continue;
      context.strokeStyle = colours.mark;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(self.xs[row], self.ys[row], radius, 0, 2 * Math.PI);
      context.stroke();
    }
    const missing = state.shown.length - drawn.length;
    const front = self.front.length
      ? ` Pareto front (best: ${byId("better-x").value} ${self.x.name}, ${byId("better-y").value} ${self.y.name}): ${several(self.front.length, "point")}.` : "";
    const why = x.kind === "log" || y.kind === "log" ? "without a value, or not positive on a logarithmic axis" : "without a value";
    byId("scatter-note").textContent =
      `${several(drawn.length, "point")}.${missing ? ` Not drawn: ${several(missing, "row")} ${why}.` : ""}${front}`;
    byId("scatter-canvas").setAttribute("aria-label",
      `${self.y.name} against ${self.x.name}, ${drawn.length} points. Arrow keys go from point to point; Enter selects its row in the table.`);
  },

  nearest(x, y, within = 14) {
    let [best, row] = [within * within, -1];
    for (const candidate of state.shown) {
      const distance = (this.xs[candidate] - x) ** 2 + (this.ys[candidate] - y) ** 2;
      if (distance <= best) [best, row] = [distance, candidate];
    }
    return row;
  },

  hover(event) {
    const row = this.nearest(...place(event, byId("scatter-canvas")));
    if (row !== this.hovered) {
      this.hovered = row;
      redraw(this.draw);
    }
    if (row < 0) tooltip.hide();
    else tooltip.show(event, pointLines(row, [this.x, this.y, this.colour]));
  },

  leave() {
    this.hovered = -1;
    tooltip.hide();
    redraw(this.draw);
  },

  /** Left and right go through the points by x; Enter selects. */
  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && this.hovered >= 0) select(this.hovered, "scatter");
    if (step === undefined) return;
    event.preventDefault();
    const rows = state.shown.filter((row) => !Number.isNaN(this.xs[row] + this.ys[row]))
      .sort((a, b) => this.xs[a] - this.xs[b] || this.ys[b] - this.ys[a]);
    if (rows.length === 0) return;
    const at = rows.indexOf(this.hovered);
    this.hovered = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
    const box = byId("scatter-canvas").getBoundingClientRect();
    const where = { clientX: box.left + this.xs[this.hovered], clientY: box.top + this.ys[this.hovered] };
    tooltip.show(where, pointLines(this.hovered, [this.x, this.y, this.colour]));
    redraw(this.draw);
  },
};

/** What is said of a point: its name, what is drawn of it, and the settings that vary. */
function pointLines(row, first) {
  const settings = COLUMNS.filter((c) => c.kind === "setting" && c.varies);
  const columns = [...new Set([...first.filter(Boolean), ...settings])].slice(0, 14);
  return [rowName(row), ...columns.map((c) => `${c.name}: ${textAt(c, row)}`)];
}

/** Rows that no other beats in both columns and none in one, by ascending cost on x. */
function paretoFront(rows) {
  const cost = (axis) => {
    const sign = byId(`better-${axis}`).value === "high" ? -1 : 1;
    return (row) => sign * numberAt(scatter[axis], row);
  };
  const [x, y] = [cost("x"), cost("y")];
  const usable = rows.filter((row) => !Number.isNaN(x(row) + y(row))).sort((a, b) => x(a) - x(b) || y(a) - y(b) || a - b);
  const front = [];
  for (const row of usable) {
    const last = front[front.length - 1];
    // One that equals the last is as good as it.
    if (last === undefined || y(row) < y(last) || (y(row) === y(last) && x(row) === x(last))) front.push(row);
  }
  return front;
}

function drawFront(context, front, colours) {
  if (front.length === 0) return;
  const { xs, ys } = scatter;
  context.strokeStyle = colours.mark;
  context.lineWidth = front.length > 30 ? 1.2 : 1.6;
  context.beginPath();
  front.forEach((row, i) => {
    // What the front reaches between two of its points is the worse of each: a step.
    if (i > 0) context.lineTo(xs[row], ys[front[i - 1]]);
    context.lineTo(xs[row], ys[row]);
  });
  context.stroke();
  for (const row of front) {
    context.beginPath();
    context.arc(xs[row], ys[row], front.length > 200 ? 1 : front.length > 30 ? 3 : 5.5, 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawAxes(context, colours, box, x, y, px, py) {
  context.lineWidth = 1;
  context.strokeStyle = colours.grid;
  context.fillStyle = colours.soft;
  context.textBaseline = "top";
  context.textAlign = "center";
  const every = (box.right - box.left) / Math.max(1, x.ticks.length);
  for (const tick of x.ticks) {
    line(context, px(tick.at), box.top, px(tick.at), box.bottom);
    context.fillText(fit(context, tick.text, Math.max(40, every - 6)), px(tick.at), box.bottom + 6);
  }
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of y.ticks) {
    line(context, box.left, py(tick.at), box.right, py(tick.at));
    context.fillText(fit(context, tick.text, box.left - 28), box.left - 6, py(tick.at));
  }
  context.strokeStyle = colours.faint;
  line(context, box.left, box.bottom, box.right, box.bottom);
  line(context, box.left, box.top, box.left, box.bottom);
  context.fillStyle = colours.text;
  context.textAlign = "center";
  const title = (axis) => axis.column.name + (axis.kind === "log" ? " (log)" : "");
  context.fillText(title(x), (box.left + box.right) / 2, box.bottom + 34);
  context.save();
  context.translate(10, (box.top + box.bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(title(y), 0, 0);
  context.restore();
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  // On the middle of a pixel a line is one pixel wide.
  const sharp = (v) => Math.round(v) + 0.5;
  context.moveTo(sharp(x0), sharp(y0));
  context.lineTo(sharp(x1), sharp(y1));
  context.stroke();
}
