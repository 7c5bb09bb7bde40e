"use strict";
// Elements, drawing surfaces and what to redraw.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children. Texts are set as texts: nothing of the data is ever read as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A select's options, as `[value, text]` or `[group, [[value, text], ...]]`. */
function options(select, list, value) {
  const option = ([v, text]) => element("option", { value: v }, text);
  select.replaceChildren(...list.map(([name, of]) =>
    Array.isArray(of) ? element("optgroup", { label: name }, ...of.map(option)) : option([name, of])));
  select.value = String(value);
}

/** Fits a canvas to its box at the screen's resolution; a context that draws in CSS pixels, and the box. */
function surface(canvas, height, least = 50) {
  const width = Math.max(least, Math.floor(canvas.parentElement.clientWidth));
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  return { context, width, height };
}

/** Where a pointer is on an element. */
function place(event, target) {
  const box = target.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Shortens a text to a width. */
function fit(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 0 ? `${text.slice(0, low)}…` : "";
}

const tooltip = {
  show(event, lines) {
    const box = byId("tooltip");
    box.replaceChildren(...lines.map((line) => element("div", {}, line)));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const [x, y] = [event.clientX + 14, event.clientY + 14];
    box.style.left = `${Math.max(4, x + width > innerWidth ? event.clientX - width - 10 : x)}px`;
    box.style.top = `${Math.max(4, y + height > innerHeight ? event.clientY - height - 10 : y)}px`;
  },
  hide() {
    byId("tooltip").hidden = true;
  },
};

// What has to be drawn again is drawn once a frame, however often it was asked for.
const pending = new Set();
function redraw(...draws) {
  if (pending.size === 0) requestAnimationFrame(drawNow);
  draws.forEach((draw) => pending.add(draw));
}
function drawNow() {
  const draws = [...pending];
  pending.clear();
  draws.forEach((draw) => draw());
}

/** Offers a text as a file. */
function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
