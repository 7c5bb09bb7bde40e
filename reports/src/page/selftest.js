"use strict";
// With `#selftest`, the page tries itself and writes what it found into `<pre id="selftest">`.

function selftest() {
  const lines = [];
  const check = (name, holds) => lines.push(`${holds ? "ok" : "FAILED"} ${name}`);
  const attempt = (name, test) => {
    try {
      test((what, holds) => check(`${name}: ${what}`, holds));
      drawNow();
    } catch (error) {
      check(`${name}: ${error}`, false);
    }
  };
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const results = COLUMNS.filter((c) => c.kind === "result" && c.numeric && c.varies);
  const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
  const drag = (canvas, type, x, y) => {
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true }));
  };

  attempt("units", (is) => {
    is("quantity", same([quantity(1.234e-3, "s"), quantity(999.96e-6, "s"), quantity(1e30, "J"), quantity(32, "B"), quantity(NaN, "s")],
      ["1.234 ms", "1.000 ms", "1.000e30 J", "32 B", "n/a"]));
    is("typed", same(["1.5 ms", "2k", "1e-3", "x"].map((t) => parseNumber(t, { unit: ["si", "s"] }) ?? null), [1.5e-3, 2000, 1e-3, null]));
  });
  if (ROWS > 0 && results.length > 0) attempt("table", (is) => {
    is("few rows in the document", byId("points-body").rows.length < 120);
    is("errors are marked", ERRORS.some((e) => e !== null) === (texts("tr.error").length > 0 || ROWS > 60));
    const [column] = results;
    const head = () => [...document.querySelectorAll("th[data-column]")].find((h) => h.dataset.column === column.name);
    const values = () => state.shown.map((row) => numberAt(column, row)).filter((v) => !Number.isNaN(v));
    head().firstElementChild.click();
    is("ascending", values().every((v, i, all) => i === 0 || all[i - 1] <= v) && head().getAttribute("aria-sort") === "ascending");
    head().firstElementChild.click();
    is("descending", values().every((v, i, all) => i === 0 || all[i - 1] >= v));
    is("empty last", Number.isNaN(numberAt(column, state.shown[ROWS - 1])) || state.shown.every((r) => !Number.isNaN(numberAt(column, r))));
    head().firstElementChild.click();
    is("unsorted", state.shown.every((row, i) => row === i));
    const middle = values().sort((a, b) => a - b)[Math.floor(values().length / 2)];
    const filter = (text) => {
      table.inputs.get(column).value = text;
      table.inputs.get(column).dispatchEvent(new Event("input"));
      return state.shown.length;
    };
    const expect = (test) => COLUMNS[column.index].values.filter((v) => typeof v === "number" && test(v)).length;
    is("above", filter(`>${middle}`) === expect((v) => v > middle) && state.shown.length < ROWS);
    is("range", filter(`${middle}..${middle * 2}`) === expect((v) => v >= middle && v <= middle * 2));
    is("count", byId("count").textContent.startsWith(`${count(state.shown.length)} of `));
    is("CSV", csvText(table.columns()).split("\n").length >= state.shown.length + 2);
    is("senseless", filter(">many") === ROWS && table.inputs.get(column).getAttribute("aria-invalid") === "true");
    is("cleared", filter("") === ROWS);
    if (NAMING && ROWS > 1) {
      const part = rowName(ROWS - 1).slice(0, 3);
      state.filters.set(NAMING, part);
      applyFilters();
      is("contains", state.shown.length > 0 && state.shown.every((r) => textAt(NAMING, r).toLowerCase().includes(part.toLowerCase())));
      byId("reset").click();
    }
    select(ROWS - 1, "test");
    is("selected in sight", document.querySelector("tr[aria-selected=true]")?.dataset.row === String(ROWS - 1));
    const press = (key) => byId("table-scroll").dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    press("ArrowUp");
    is("arrow up", state.selected === ROWS - 2);
    press("Home");
    is("home", state.selected === 0 && document.querySelector("tr[aria-selected=true]")?.dataset.row === "0");
    table.choose([column], false);
    is("hidden column", !head() && !csvText(table.columns()).split("\n")[0].split(",").includes(column.name));
    table.choose([column], true);
  });
  if (charts.scatter) attempt("scatter", (is) => {
    if (!byId("pareto").checked) byId("pareto").click();
    drawNow();
    const cost = (axis, row) => (byId(`better-${axis}`).value === "high" ? -1 : 1) * numberAt(scatter[axis], row);
    const rows = state.shown.filter((r) => !Number.isNaN(scatter.xs[r] + scatter.ys[r]));
    const beaten = (a) => rows.some((b) => cost("x", b) <= cost("x", a) && cost("y", b) <= cost("y", a) &&
      (cost("x", b) < cost("x", a) || cost("y", b) < cost("y", a)));
    const front = rows.slice(0, 3000).filter((r) => !beaten(r));
    is("front", rows.length > 3000 || same([...scatter.front].sort((a, b) => a - b), front));
    const [row] = rows;
    const canvas = byId("scatter-canvas");
    drag(canvas, "pointermove", scatter.xs[row], scatter.ys[row]);
    is("hover", !byId("tooltip").hidden && scatter.hovered >= 0);
    drag(canvas, "click", scatter.xs[row], scatter.ys[row]);
    is("click selects", state.selected >= 0 && document.querySelector("tr[aria-selected=true]") !== null);
    drag(canvas, "pointerleave", 0, 0);
  });
  if (charts.parallel && charts.scatter) attempt("brush", (is) => {
    const canvas = byId("parallel-canvas");
    const x = parallel.xs[0];
    drag(canvas, "pointerdown", x, parallel.y(1) + 1);
    drag(canvas, "pointermove", x, parallel.y(0.5));
    drag(canvas, "pointerup", x, parallel.y(0.5));
    const inside = (r) => parallel.axes[0].positions[r] >= 0.49;
    is("filters", state.brushes.size === 1 && state.shown.length > 0 && state.shown.length < ROWS && state.shown.every(inside));
    is("table follows", Number(byId("points").getAttribute("aria-rowcount")) === state.shown.length + 2);
    drawNow();
    is("scatter follows", state.passes.reduce((a, b) => a + b, 0) === state.shown.length);
    drag(canvas, "pointerdown", x, parallel.y(0.1));
    drag(canvas, "pointerup", x, parallel.y(0.1));
    is("click clears", state.brushes.size === 0 && state.shown.length === ROWS);
    const press = (key) => byId("parallel-heads").firstElementChild.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    press("ArrowUp");
    drawNow();
    is("by keys", state.brushes.size === 1 && state.shown.length < ROWS);
    press("Escape");
    is("Escape clears", state.brushes.size === 0 && state.shown.length === ROWS);
  });
  if (DATA.reports.length > 0) attempt("runs", (is) => {
    DATA.reports.forEach((run, i) => {
      runs.show(i);
      is(`operators of run ${i}`, texts("#operators tbody tr").length === run.operators.length);
    });
    runs.show(0);
  });
  if (timeline.data) attempt("timeline", (is) => {
    const canvas = byId("timeline-canvas");
    const box = canvas.getBoundingClientRect();
    const wheel = (deltaY) => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: box.left + 400, clientY: box.top + 60, cancelable: true }));
    const whole = timeline.to - timeline.from;
    const about = timeline.time(400);
    wheel(-300);
    drawNow();
    is("zoom", timeline.to - timeline.from < whole && Math.abs(timeline.time(400) - about) < whole * 1e-6);
    const { from } = timeline;
    drag(canvas, "pointerdown", 500, 60);
    drag(canvas, "pointermove", 450, 60);
    drag(canvas, "pointerup", 450, 60);
    is("pan", timeline.from > from);
    timeline.view(timeline.data.from, timeline.data.to);
    drawNow();
    const place_ = timeline.places.find((p) => p.row);
    const span = place_.row[0];
    const x = timeline.x((timeline.data.starts[span] + timeline.data.ends[span]) / 2);
    drag(canvas, "pointermove", x, HEAD + place_.y + TRACK / 2);
    is("hover", !byId("tooltip").hidden && byId("tooltip").textContent.includes("duration: "));
    drag(canvas, "pointerleave", 0, 0);
    tooltip.hide();
    const press = (key, shiftKey = false) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, cancelable: true }));
    press("+");
    is("zoom by keys", timeline.to - timeline.from < whole);
    press("0");
    is("whole by keys", timeline.to - timeline.from === whole);
    press("ArrowRight", true);
    is("span by keys", timeline.cursor !== null && byId("timeline-span").textContent.includes("duration: "));
    const placed = timeline.data.groups.flatMap((g) => g.lanes).reduce((sum, l) => sum + l.rows.reduce((n, r) => n + r.length, 0), 0);
    is("every span is on a lane", placed === timeline.data.starts.length);
  });
  attempt("figures", (is) => {
    is("drawn", texts("[data-figure]").length === DATA.figures.length);
    const parts = [...byId("figures").querySelectorAll("svg, svg *")];
    is("harmless", parts.every((p) => p.localName !== "script" && [...p.attributes].every((a) => !a.name.startsWith("on") && !/^\s*http/.test(a.value) || a.name.startsWith("xmlns"))));
  });
  check("no errors", byId("errors").hidden);
  const failed = lines.filter((l) => l.startsWith("FAILED")).length;
  byId("main").append(element("pre", { id: "selftest" }, `${lines.join("\n")}\n${failed === 0 ? "passed" : `${failed} failed`}`));
}

if (location.hash === "#selftest") selftest();
