"use strict";
// Colours that are told apart with any colour vision, on light and dark ground.

// Okabe and Ito, those that stand out least on each ground last.
const PALETTE = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a"],
  dark: ["#56b4e9", "#e69f00", "#1fbf92", "#cc79a7", "#f0e442", "#e0773c", "#a0a0a0"],
};
// Viridis, without the end that the ground swallows.
const VIRIDIS = [
  "#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725",
];
const SHAPES = ["disc", "square", "triangle", "diamond", "down", "plus", "cross"];

const scheme = { printing: false, query: matchMedia("(prefers-color-scheme: dark)") };
const isDark = () => scheme.query.matches && !scheme.printing;
const palette = () => PALETTE[isDark() ? "dark" : "light"];

/** Ink, grid and other colours of the page, from its style. */
function ink() {
  if (scheme.printing) return { text: "#222", soft: "#555", grid: "#ddd", faint: "#bbb", ground: "#fff", mark: "#000" };
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"), soft: of("soft"), grid: of("grid"), faint: of("faint"), ground: of("card"), mark: of("mark"),
  };
}

/** Black or white, whichever stands out more on a colour. */
function inkOn(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

function ramp(share) {
  const [from, to] = isDark() ? [3, 10] : [0, 8];
  const at = from + Math.min(1, Math.max(0, share)) * (to - from);
  const i = Math.min(to - 1, Math.floor(at));
  const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  const mix = (k) => Math.round(part(VIRIDIS[i], k) + (at - i) * (part(VIRIDIS[i + 1], k) - part(VIRIDIS[i], k)));
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

/**
 * How rows are coloured by a column, or all alike: `of(row)` and `shape(row)`, and a legend. Few values get a colour and a
 * shape each; a range of numbers gets a ramp.
 */
function colouring(column) {
  const colours = palette();
  const grey = ink().faint;
  if (!column) return { of: () => colours[0], shape: () => "disc", legend: () => [] };
  const axis = makeAxis(column, { log: spansDecades(column), room: 4 });
  const distinct = new Set(column.values.filter((v) => v !== null && typeof v !== "object" && !Number.isNaN(v)));
  if (column.numeric && axis.kind !== "places" && distinct.size > colours.length) {
    const steps = Array.from({ length: 33 }, (_, i) => ramp(i / 32));
    const of = (row) => {
      const at = axis.positions[row];
      return Number.isNaN(at) ? grey : steps[Math.round(Math.min(1, Math.max(0, at)) * 32)];
    };
    return { of, shape: () => "disc", legend: () => rampLegend(column, axis, steps) };
  }
  const values = [...distinct].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : 0));
  const rank = new Map(values.map((v, i) => [v, i]));
  // Beyond the palette all others share the last colour.
  const last = colours.length - 1;
  const index = (row) => {
    const i = rank.get(column.values[row]);
    return i === undefined ? -1 : Math.min(i, last);
  };
  const text = (v) => (typeof v === "number" ? shownNumber(column, v) : v || "(empty)");
  const legend = () => values.slice(0, values.length > colours.length ? last : colours.length)
    .map((v, i) => [colours[i], SHAPES[i], text(v)])
    .concat(values.length > colours.length ? [[colours[last], SHAPES[last], `${values.length - last} others`]] : [])
    .map(([colour, shape, name]) => element("span", { class: "entry" }, swatch(colour, shape), name));
  return {
    of: (row) => (index(row) < 0 ? grey : colours[index(row)]),
    shape: (row) => (index(row) < 0 ? "disc" : SHAPES[index(row)]),
    legend: () => [element("strong", {}, column.name), ...legend()],
  };
}

function rampLegend(column, axis, steps) {
  const bar = element("span", { class: "ramp" });
  bar.style.background = `linear-gradient(to right, ${steps.join(",")})`;
  const [low, high] = extent(column.values.filter((v) => Number.isFinite(v) && (axis.kind !== "log" || v > 0)));
  const kind = axis.kind === "log" ? " (log)" : "";
  return [element("strong", {}, column.name + kind), shownNumber(column, low), bar, shownNumber(column, high)];
}

function swatch(colour, shape) {
  const canvas = element("canvas", { width: 28, height: 28, class: "swatch", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  drawMark(context, 7, 7, 4.5, colour, shape);
  return canvas;
}

function drawMark(context, x, y, size, colour, shape) {
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.beginPath();
  const corners = {
    square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
    triangle: [[0, -1.15], [1.05, 0.8], [-1.05, 0.8]],
    diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
    down: [[0, 1.15], [1.05, -0.8], [-1.05, -0.8]],
  }[shape];
  const strokes = { plus: [[-1, 0, 1, 0], [0, -1, 0, 1]], cross: [[-0.8, -0.8, 0.8, 0.8], [-0.8, 0.8, 0.8, -0.8]] }[shape];
  if (corners) {
    corners.forEach(([dx, dy]) => context.lineTo(x + dx * size, y + dy * size));
    context.fill();
  } else if (strokes) {
    context.lineWidth = 2;
    for (const [x0, y0, x1, y1] of strokes) {
      context.moveTo(x + x0 * size, y + y0 * size);
      context.lineTo(x + x1 * size, y + y1 * size);
    }
    context.stroke();
  } else {
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  }
}
