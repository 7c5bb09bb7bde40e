"use strict";
// The runs: what each came to, and its operators and components.

const runs = {
  current: 0, sort: null,

  start() {
    options(byId("run"), DATA.reports.map((run, i) => [i, run.name]), 0);
    byId("run").addEventListener("change", (event) => this.show(Number(event.target.value)));
    byId("run").parentElement.hidden = DATA.reports.length < 2;
    this.show(0);
  },

  go(index) {
    byId("run").value = String(index);
    this.show(index);
    byId("section-runs").scrollIntoView();
  },

  show(index) {
    this.current = index;
    const run = DATA.reports[index];
    byId("run-body").dataset.run = run.name;
    byId("run-body").replaceChildren(
      element("h3", {}, DATA.reports.length < 2 || run.name !== run.experiment ? run.name : run.experiment),
      facts(run), this.operators(run),
      detail("Components", run.components.length, () => components(run)),
      detail("Metrics", run.metrics.length, () => pairs(run.metrics.map(([name, value]) => [...named(name, value), value]))));
  },

  operators(run) {
    const total = (key) => run.operators.reduce((sum, o) => sum + o[key], 0);
    const [latency, energy] = [total("latency_s"), total("energy_j")];
    const channels = [...new Set(run.operators.flatMap((o) => Object.keys(o.traffic_bytes)))].sort();
    const measures = [
      ["count", (o) => o.count, count],
      ["latency", (o) => o.latency_s, (v) => quantity(v, "s")],
      ["of latency", (o) => o.latency_s / latency, null, "latency"],
      ["busy", (o) => o.busy_s, (v) => quantity(v, "s")],
      ["energy", (o) => o.energy_j, (v) => quantity(v, "J")],
      ["of energy", (o) => o.energy_j / energy, null, "energy"],
      ["FLOP", (o) => o.flops, (v) => quantity(v, "")],
      ...channels.map((c) => [c.replaceAll("_", " "), (o) => o.traffic_bytes[c] || 0, (v) => quantity(v, "B")]),
    ];
    const sort = this.sort;
    const rows = [...run.operators];
    if (sort && measures[sort.at]) rows.sort((a, b) => (sort.down ? -1 : 1) * (measures[sort.at][1](a) - measures[sort.at][1](b)));
    const heading = ([name, , , share], i) => {
      const on = sort && sort.at === i;
      const next = () => {
        this.sort = !on ? { at: i, down: true } : sort.down ? { at: i, down: false } : null;
        this.show(this.current);
        byId("run-body").querySelectorAll("thead button")[i].focus();
      };
      const arrow = on ? (sort.down ? " ▼" : " ▲") : "";
      return element("th", { scope: "col", class: share ? "measure" : null, "aria-sort": on ? (sort.down ? "descending" : "ascending") : "none" },
        element("button", { type: "button", onclick: next }, name + arrow));
    };
    const cell = (value, [, , text, share]) => (share
      ? element("td", { class: "measure", title: value }, bar(value, share), percent(value))
      : element("td", { title: value }, text(value)));
    const body = rows.map((o) => element("tr", { "data-operator": o.name },
      element("th", { scope: "row" }, o.name), ...measures.map((m) => cell(m[1](o), m))));
    const sums = measures.map(([, of, text, share]) => (share ? element("td") : element("td", {}, text(rows.reduce((sum, o) => sum + of(o), 0)))));
    return element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Operators" },
      element("table", { class: "plain", id: "operators" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "operator"), ...measures.map(heading))),
        element("tbody", {}, ...body),
        element("tfoot", {}, element("tr", {}, element("th", { scope: "row" }, "all"), ...sums))));
  },
};

function bar(share, kind) {
  const width = Number.isFinite(share) ? Math.max(0, Math.min(1, share)) * 80 : 0;
  return element("span", { class: `share ${kind}`, style: `width:${width.toFixed(1)}px` });
}

/** What the results are called where their names without the unit would not say. */
const RESULTS = { tokens_per_s: "tokens per second", ttft_s: "time to first token", tpot_s: "time per output token" };

function facts(run) {
  const { machine, workload } = run;
  const size = `${count(workload.batch)} × (${count(workload.prompt_tokens)} + ${count(workload.generated_tokens)})`;
  const list = [
    ["machine", machine.name], ["model", workload.model], ["sequences × (prompt + generated)", size],
    ...run.results.map(([name, value]) => [RESULTS[name] || named(name, value)[0], name === "tokens" ? count(value) : named(name, value)[1], value]),
    ["peak arithmetic", quantity(machine.peak_flops_per_s, "FLOP/s")],
    ["peak bandwidth", quantity(machine.peak_bandwidth_bytes_per_s, "B/s")],
    ["weights", quantity(workload.weight_bytes, "B")],
    ["Banksia", run.version], ["seed", String(run.seed)], ["configuration", run.configuration_sha256.slice(0, 12), run.configuration_sha256],
  ];
  return element("dl", { class: "facts" }, ...list.map(([name, text, raw]) =>
    element("div", {}, element("dt", {}, name), element("dd", { title: raw ?? null }, text))));
}

/** A part that is made when it is opened. */
function detail(title, size, make) {
  if (size === 0) return "";
  const place = element("div", { class: "wide" });
  return element("details", { ontoggle: () => place.childElementCount || place.append(make()) },
    element("summary", {}, `${title} (${count(size)})`), place);
}

function components(run) {
  const rows = run.components.map((c) => element("tr", {},
    element("th", { scope: "row" }, c.name), element("td", {}, c.kind), element("td", { title: c.busy_s }, quantity(c.busy_s, "s")),
    element("td", { class: "measure", title: c.utilization }, bar(c.utilization, "latency"), percent(c.utilization)),
    element("td", { title: c.energy_j }, quantity(c.energy_j, "J"))));
  const heads = ["component", "kind", "busy", "utilization", "energy"].map((h) => element("th", { scope: "col" }, h));
  return element("table", { class: "plain" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function pairs(list) {
  return element("table", { class: "plain" }, element("tbody", {}, ...list.map(([name, text, raw]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { title: raw }, text)))));
}

// The plots, as images of their own: an SVG document may hold scripts and references, and these are dropped.
const figures = {
  start() {
    byId("figures").replaceChildren(...DATA.figures.map(([name, svg]) => this.figure(name, svg)));
  },

  figure(name, text) {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    const root = parsed.documentElement;
    const card = element("figure", { class: "card", "data-figure": name });
    if (parsed.querySelector("parsererror") || root.localName !== "svg") {
      card.append(element("p", {}, "This figure is no SVG document."), element("figcaption", {}, name));
      return card;
    }
    parsed.querySelectorAll("script, foreignObject, iframe, image, style, animate, set").forEach((part) => part.remove());
    for (const part of [root, ...root.querySelectorAll("*")]) {
      for (const { name: attribute, value } of [...part.attributes]) {
        const outside = /(^|:)href$/i.test(attribute) && !value.startsWith("#");
        if (/^on/i.test(attribute) || outside) part.removeAttribute(attribute);
      }
    }
    // A drawing of points has a size; its box lets it grow with the page.
    const [width, height] = ["width", "height"].map((side) => parseFloat(root.getAttribute(side)));
    if (!root.hasAttribute("viewBox") && width > 0 && height > 0) root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    root.removeAttribute("width");
    root.removeAttribute("height");
    root.setAttribute("role", "img");
    root.setAttribute("aria-label", name);
    const save = element("button", { type: "button", onclick: () => download(`${name.replace(/[^\w.-]+/g, "_")}.svg`, "image/svg+xml", text) }, "Save SVG");
    card.append(element("div", { class: "plot" }, document.importNode(root, true)), element("figcaption", {}, name, save));
    return card;
  },
};
