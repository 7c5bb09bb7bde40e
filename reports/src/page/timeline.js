"use strict";
// What ran where and when, on a canvas: zoomed about the pointer, panned by dragging.

const HEAD = 22;
const GROUP = 22;
const TRACK = 15;

const timeline = {
  arranged: [], data: null, from: 0, to: 1, scroll: 0, gutter: 150, height: 300, places: [], cursor: null, find: "", drag: null,

  start() {
    options(byId("timeline"), DATA.timelines.map((t, i) => [i, t.name]), 0);
    byId("timeline").parentElement.hidden = DATA.timelines.length < 2;
    byId("timeline").addEventListener("change", (event) => this.show(Number(event.target.value)));
    byId("timeline-find").addEventListener("input", (event) => {
      this.find = event.target.value.toLowerCase();
      redraw(this.draw);
    });
    byId("timeline-in").addEventListener("click", () => this.zoom(0.5));
    byId("timeline-out").addEventListener("click", () => this.zoom(2));
    byId("timeline-all").addEventListener("click", () => this.view(this.data.from, this.data.to));
    const canvas = byId("timeline-canvas");
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.drop(event));
    canvas.addEventListener("pointerleave", () => tooltip.hide());
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.show(0);
  },

  show(index) {
    this.data = this.arranged[index] ??= arrange(DATA.timelines[index]);
    this.cursor = null;
    this.scroll = 0;
    byId("timeline-span").textContent = "";
    this.view(this.data.from, this.data.to);
  },

  /** Shows a stretch of time, within the run. */
  view(from, to) {
    const whole = this.data.to - this.data.from;
    const length = Math.min(whole, Math.max(to - from, Math.min(whole, 0.01)));
    const start = Math.min(this.data.to - length, Math.max(this.data.from, from));
    [this.from, this.to] = [start, start + length];
    redraw(this.draw);
  },

  zoom(factor, about = (this.from + this.to) / 2) {
    this.view(about - (about - this.from) * factor, about + (this.to - about) * factor);
  },

  /** Where groups and rows of lanes lie, from the top of the unscrolled drawing. */
  layout() {
    this.places = [];
    let y = 0;
    for (const group of this.data.groups) {
      this.places.push({ group, y, height: GROUP });
      y += GROUP;
      if (group.folded) continue;
      for (const lane of group.lanes) {
        lane.rows.forEach((row, i) => {
          this.places.push({ group, lane, row, first: i === 0, y, height: TRACK });
          y += TRACK;
        });
        y += 3;
      }
    }
    return y;
  },

  draw: () => {
    const self = timeline;
    const { data } = self;
    const content = self.layout();
    self.height = Math.min(content + HEAD + 4, Math.max(240, innerHeight - 220, 300));
    const { context, width, height } = surface(byId("timeline-canvas"), self.height);
    const colours = ink();
    const all = data.groups.flatMap((g) => g.lanes.map((l) => l.name));
    const widest = Math.max(...all.slice(0, 500).map((name) => context.measureText(name).width), 40);
    self.gutter = Math.min(180, widest + 26, width / 3);
    self.scroll = Math.max(0, Math.min(self.scroll, content + HEAD + 4 - height));
    self.width = width;
    context.save();
    context.beginPath();
    context.rect(0, HEAD, width, height - HEAD);
    context.clip();
    self.ruler(context, colours, width, height, false);
    const paint = self.painter(context, colours, width);
    for (const at of self.places) {
      const y = HEAD + at.y - self.scroll;
      if (y + at.height < HEAD || y > height) continue;
      if (at.row) {
        if (at.first) self.label(context, colours, at.lane.name, 14, y + TRACK / 2, self.gutter - 20, false);
        paint(at.row, y);
      } else {
        context.fillStyle = colours.grid;
        context.fillRect(0, y + 2, width, GROUP - 4);
        self.label(context, colours, `${at.group.folded ? "▸" : "▾"} ${at.group.name}`, 4, y + GROUP / 2, width - 8, true);
      }
    }
    context.restore();
    self.ruler(context, colours, width, height, true);
    if (content + HEAD + 4 > height) {
      const share = (height - HEAD) / content;
      context.fillStyle = colours.faint;
      context.fillRect(width - 5, HEAD + self.scroll * share, 5, (height - HEAD) * share);
    }
    const range = self.to - self.from;
    byId("timeline-range").textContent = `${self.from === 0 ? "0" : timeText(self.from, range / 1000)} to ${timeText(self.to, range / 1000)} (${quantity(range * 1e-9, "s")}), ${count(data.starts.length)} spans`;
    byId("timeline-canvas").setAttribute("aria-label",
      `Timeline of ${data.source.name}: ${data.starts.length} spans on ${all.length} lanes. Arrows pan, plus and minus zoom, Shift with arrows goes from span to span.`);
  },

  label(context, colours, text, x, y, width, bold) {
    context.font = `${bold ? "600 " : ""}12px system-ui, sans-serif`;
    context.fillStyle = bold ? colours.text : colours.soft;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(fit(context, text, width), x, y);
    context.font = "12px system-ui, sans-serif";
  },

  x(time) {
    return this.gutter + ((time - this.from) / (this.to - this.from)) * (this.width - this.gutter - 8);
  },

  time(x) {
    return this.from + ((x - this.gutter) / (this.width - this.gutter - 8)) * (this.to - this.from);
  },

  ruler(context, colours, width, height, texts) {
    const room = Math.max(2, (width - this.gutter) / 130);
    const step = roundStep(this.to - this.from, room);
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = Math.ceil(this.from / step); i * step <= this.to; i++) {
      const x = this.x(i * step);
      context.strokeStyle = colours.grid;
      context.fillStyle = colours.soft;
      if (!texts) line(context, x, HEAD, x, height);
      else if (x > this.gutter - 4 && x < width - 24) context.fillText(i === 0 ? "0" : timeText(i * step, step), Math.max(x, 30), HEAD / 2);
    }
  },

  /** Draws a row of spans. Of those that share a pixel, the first is drawn. */
  painter(context, colours, width) {
    const { starts, ends, source, tint } = this.data;
    const base = palette();
    const found = this.find && source.names.map((name) => name.toLowerCase().includes(this.find));
    const right = width - 8;
    return (row, y) => {
      let painted = -1;
      for (let k = firstAfter(row, ends, this.from); k < row.length; k++) {
        const i = row[k];
        if (starts[i] > this.to) break;
        const x0 = Math.max(this.gutter, this.x(starts[i]));
        const x1 = Math.min(right, Math.max(this.x(ends[i]), x0 + 1));
        const name = source.name_of[i];
        const dim = found && !found[name];
        // What is looked for must not hide behind what is not.
        if (x1 <= painted && !(found && !dim) && i !== this.cursor) continue;
        const pale = tint[name] >= base.length;
        context.globalAlpha = dim ? 0.15 : pale ? 0.5 : 1;
        context.fillStyle = base[tint[name] % base.length];
        const gap = x1 - x0 > 3 ? 0.5 : 0;
        context.fillRect(x0, y + 1, x1 - x0 - gap, TRACK - 2);
        context.globalAlpha = 1;
        if (x1 - x0 > 34 && !dim) {
          // A lighter tint is one through which the ground shows.
          context.fillStyle = pale ? colours.mark : inkOn(base[tint[name] % base.length]);
          context.textAlign = "left";
          context.textBaseline = "middle";
          context.font = "11px system-ui, sans-serif";
          context.fillText(fit(context, source.names[name], x1 - x0 - 8), x0 + 4, y + TRACK / 2 + 0.5);
          context.font = "12px system-ui, sans-serif";
        }
        if (i === this.cursor) {
          context.strokeStyle = colours.mark;
          context.lineWidth = 2;
          context.strokeRect(x0, y + 1, Math.max(2, x1 - x0), TRACK - 2);
          context.lineWidth = 1;
        }
        painted = Math.max(painted, Math.ceil(x1));
      }
    };
  },

  /** What lies at a point of the canvas: a group's heading, or a row and its span. */
  hit(x, y) {
    const at = this.places.find((p) => y - HEAD + this.scroll >= p.y && y - HEAD + this.scroll < p.y + p.height);
    if (!at || y < HEAD || !at.row) return { group: at && y >= HEAD ? at.group : null, span: -1 };
    if (x < this.gutter) return { group: null, span: -1 };
    const time = this.time(x);
    // A span of less than a pixel is hit within it.
    const pixel = this.time(x + 1) - time;
    const k = firstAfter(at.row, this.data.ends, time - pixel);
    const hit = k < at.row.length && this.data.starts[at.row[k]] <= time + pixel;
    return { group: null, span: hit ? at.row[k] : -1, lane: at.lane };
  },

  describe(i) {
    const { source, starts } = this.data;
    const [group, lane] = source.lanes[source.lane[i]];
    const duration = source.duration_ns[i];
    const start = timeText(starts[i], Math.max(0.001, Math.min(duration || 1, starts[i] || 1) / 100));
    return [
      source.names[source.name_of[i]], `${group}, ${lane}`, `start: ${start}`, `duration: ${quantity(duration * 1e-9, "s")}`,
      ...source.details[source.details_of[i]].map(([key, value]) => `${key}: ${value}`),
    ];
  },

  choose(i) {
    this.cursor = i;
    byId("timeline-span").textContent = this.describe(i).join("; ");
    redraw(this.draw);
  },

  wheel(event) {
    event.preventDefault();
    if (event.shiftKey) {
      this.scroll += event.deltaY || event.deltaX;
      redraw(this.draw);
    } else this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))), this.time(place(event, byId("timeline-canvas"))[0]));
  },

  grab(event) {
    const [x, y] = place(event, byId("timeline-canvas"));
    this.drag = { x, y, from: this.from, to: this.to, scroll: this.scroll, moved: false };
    byId("timeline-canvas").classList.add("dragging");
    try {
      byId("timeline-canvas").setPointerCapture(event.pointerId);
    } catch {
      // A pointer that a test made up cannot be captured, and need not be.
    }
  },

  move(event) {
    const [x, y] = place(event, byId("timeline-canvas"));
    if (!this.drag) {
      const { span } = this.hit(x, y);
      if (span >= 0) tooltip.show(event, this.describe(span));
      else tooltip.hide();
      return;
    }
    tooltip.hide();
    const { from, to, scroll } = this.drag;
    if (Math.hypot(x - this.drag.x, y - this.drag.y) > 3) this.drag.moved = true;
    if (!this.drag.moved) return;
    const by = ((this.drag.x - x) / (this.width - this.gutter - 8)) * (to - from);
    this.scroll = scroll + this.drag.y - y;
    this.view(from + by, to + by);
  },

  drop(event) {
    const moved = this.drag && this.drag.moved;
    this.drag = null;
    byId("timeline-canvas").classList.remove("dragging");
    if (moved) return;
    const { group, span } = this.hit(...place(event, byId("timeline-canvas")));
    if (group) {
      group.folded = !group.folded;
      redraw(this.draw);
    } else if (span >= 0) this.choose(span);
  },

  key(event) {
    const length = this.to - this.from;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow && event.shiftKey) this.step(...arrow);
    else if (arrow && arrow[0]) this.view(this.from + arrow[0] * length * 0.15, this.to + arrow[0] * length * 0.15);
    else if (arrow) {
      this.scroll += arrow[1] * 3 * TRACK;
      redraw(this.draw);
    } else if (event.key === "+" || event.key === "=") this.zoom(0.6);
    else if (event.key === "-") this.zoom(1 / 0.6);
    else if (event.key === "0") this.view(this.data.from, this.data.to);
    else return;
    event.preventDefault();
  },

  /** From the chosen span to the next one of its row, or to the one at its time of another row. */
  step(along, across) {
    const rows = this.places.filter((p) => p.row);
    if (rows.length === 0) return;
    const { starts, ends } = this.data;
    const r = Math.max(0, rows.findIndex((p) => p.row.includes(this.cursor)));
    const { row } = rows[Math.max(0, Math.min(rows.length - 1, r + across))];
    let k = row.indexOf(this.cursor) + along;
    if (this.cursor === null) k = firstAfter(row, ends, this.from);
    else if (across) k = firstAfter(row, ends, starts[this.cursor]);
    const span = row[Math.max(0, Math.min(row.length - 1, k))];
    this.choose(span);
    const length = this.to - this.from;
    if (starts[span] < this.from || starts[span] > this.to) this.view(starts[span] - length / 3, starts[span] + (2 * length) / 3);
    const at = rows.find((p) => p.row === row).y;
    if (at < this.scroll || at + TRACK > this.scroll + this.height - HEAD) this.scroll = at - (this.height - HEAD) / 2;
  },
};
