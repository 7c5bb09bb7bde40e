"use strict";
// Starts the parts that the data call for.

DATA.timelines = DATA.timelines.filter((t) => t.lane.length > 0);

const parts = [
  ["points", "Points", ROWS > 0, () => table.start()],
  ["figures", "Figures", DATA.figures.length > 0, () => figures.start()],
  ["runs", "Operators", DATA.reports.length > 0, () => runs.start()],
  ["timeline", "Timeline", DATA.timelines.length > 0, () => timeline.start()],
  ["configuration", "Configuration", byId("configuration").textContent.trim() !== "", () => {}],
];

for (const [name, title, there, start] of parts) {
  if (!there) continue;
  byId(`section-${name}`).hidden = false;
  byId("contents").append(element("a", { href: `#section-${name}` }, title));
  start();
}
byId("provenance").hidden = byId("provenance").rows.length === 0;

const varying = COLUMNS.filter((c) => c.varies);
const charts = { scatter: ROWS > 1 && varying.some((c) => c.numeric), parallel: ROWS > 1 && varying.filter((c) => c.kind !== "text").length > 1 };
if (charts.scatter) scatter.start();
byId("scatter").hidden = !charts.scatter;
if (charts.parallel && charts.scatter) parallel.start();
byId("parallel").hidden = !(charts.parallel && charts.scatter);

if (ROWS > 0) {
  byId("reset").addEventListener("click", () => {
    state.filters.clear();
    state.brushes.clear();
    parallel.ranges.clear();
    state.which = byId("which").value = "all";
    table.head();
    applyFilters();
  });
  byId("which").parentElement.hidden = ERRORS.every((e) => e === null);
  applyFilters();
}

/** Draws everything anew: another scheme or size. */
function redrawAll() {
  if (charts.scatter) scatter.paint(scatter.colour);
  if (ROWS > 0) {
    table.from = -1;
    redraw(() => table.body());
  }
  if (timeline.data) redraw(timeline.draw);
}

scheme.query.addEventListener("change", redrawAll);
let lastWidth = innerWidth;
window.addEventListener("resize", () => {
  if (innerWidth !== lastWidth) redrawAll();
  lastWidth = innerWidth;
});

// A printed page is light, and has the first rows of the table instead of those in sight.
for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
  window.addEventListener(event, () => {
    scheme.printing = printing;
    byId("which").blur();
    redrawAll();
    drawNow();
  });
}

// An open list of columns or axes closes when something else is clicked, or with Escape.
for (const id of ["chooser", "axes"]) {
  document.addEventListener("click", (event) => {
    // By the path of the click: what was clicked may be gone by now.
    if (!event.composedPath().includes(byId(id))) byId(id).open = false;
  });
  byId(id).addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      byId(id).open = false;
      byId(id).firstElementChild.focus();
    }
  });
}
drawNow();
