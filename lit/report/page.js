"use strict";
(() => {
  const W = 640, H = 300, L = 62, R = 12, T = 12, B = 30, COLOURS = 8;
  const SVG = "http://www.w3.org/2000/svg";
  document.documentElement.classList.add("js");
  const log = document.getElementById("log"), smooth = document.getElementById("smooth");

  const short = v => {
    if (v === Math.trunc(v) && Math.abs(v) < 1e7) return v.toLocaleString("en");
    const a = Math.abs(v);
    return a >= 1e6 || a < 1e-4 ? v.toExponential(1).replace("e+", "e") : String(+v.toPrecision(4));
  };
  const ticks = (lo, hi, n) => {
    if (!(hi > lo)) return [lo];
    const rough = (hi - lo) / n, p = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(f => f * p).find(s => s >= rough * 0.999), out = [];
    for (let k = Math.ceil(lo / step - 1e-9); k <= Math.floor(hi / step + 1e-9); k++) out.push(+(k * step).toPrecision(12));
    return out;
  };
  const logTicks = (lo, hi) => {
    const out = [];
    for (let p = Math.floor(lo); p <= Math.ceil(hi); p++)
      for (const f of hi - lo > 3 ? [1] : hi - lo > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8]) {
        const v = f * 10 ** p, e = Math.log10(v);
        if (e >= lo && e <= hi) out.push(v);
      }
    return out;
  };
  // A running mean whose start is not pulled towards zero.
  const smoothed = (ys, w) => {
    let mean = 0, weight = 0;
    return ys.map(y => (mean = w * mean + (1 - w) * y, weight = w * weight + 1 - w, mean / weight));
  };
  const el = (name, attrs, text) => {
    const e = document.createElementNS(SVG, name);
    for (const k in attrs) e.setAttribute(k, attrs[k]);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const style = i => "c" + i % COLOURS + (Math.floor(i / COLOURS) % 2 ? " dashed" : "");

  const charts = [...document.querySelectorAll(".chart")].map(figure => {
    const lines = JSON.parse(figure.querySelector("script").textContent);
    return { figure, svg: figure.querySelector("svg"), lines };
  });

  function redraw(chart) {
    const w = +smooth.value / 100, useLog = log.checked;
    const drawn = chart.lines.map(([label, xs, ys]) => {
      const keep = useLog ? xs.map((_, i) => i).filter(i => ys[i] > 0) : null;
      const x = keep ? keep.map(i => xs[i]) : xs, raw = keep ? keep.map(i => ys[i]) : ys;
      const y = w > 0 ? smoothed(raw, w) : raw;
      return { label, x, y, raw };
    });
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (const d of drawn) {
      for (const v of d.x) { if (v < x0) x0 = v; if (v > x1) x1 = v; }
      for (const v of d.y) { const t = useLog ? Math.log10(v) : v; if (t < y0) y0 = t; if (t > y1) y1 = t; }
    }
    const grid = chart.svg.querySelector(".grid"), group = chart.svg.querySelector(".lines");
    grid.replaceChildren(); group.replaceChildren();
    if (x0 === Infinity) { grid.append(el("text", { x: W / 2, y: H / 2, class: "x" }, "nothing above 0 to show")); chart.drawn = []; return; }
    const air = (y1 - y0) * 0.05 || (useLog ? 0.1 : Math.abs(y1) * 0.05 || 0.5);
    y0 -= air; y1 += air;
    const X = v => L + (x1 > x0 ? (W - L - R) * (v - x0) / (x1 - x0) : (W - L - R) / 2);
    const Y = v => T + (H - T - B) * (1 - ((useLog ? Math.log10(v) : v) - y0) / (y1 - y0));
    for (const v of useLog ? logTicks(y0, y1) : ticks(y0, y1, 5)) {
      const y = Y(v).toFixed(1);
      grid.append(el("line", { x1: L, x2: W - R, y1: y, y2: y }), el("text", { class: "y", x: L - 8, y: +y + 4 }, short(v)));
    }
    for (const v of ticks(x0, x1, 6)) grid.append(el("text", { class: "x", x: X(v).toFixed(1), y: H - 10 }, short(v)));
    const path = (d, ys) => d.x.map((v, i) => X(v).toFixed(1) + "," + Y(ys[i]).toFixed(1)).join(" ");
    drawn.forEach((d, i) => {
      if (d.x.length === 1) { group.append(el("circle", { class: style(i), cx: X(d.x[0]), cy: Y(d.y[0]), r: 4 })); return; }
      if (w > 0 && chart.lines.length <= COLOURS) group.append(el("polyline", { class: "raw " + style(i), points: path(d, d.raw.map((v, k) => useLog || (v >= y0 && v <= y1) ? v : Math.min(y1, Math.max(y0, v)))) }));
      group.append(el("polyline", { class: style(i), points: path(d, d.y) }));
    });
    Object.assign(chart, { drawn, X, Y });
  }

  function point(chart, event) {
    const box = chart.svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * W;
    if (!chart.drawn) redraw(chart);
    const found = [];
    chart.drawn.forEach((d, i) => {
      let best = -1, near = Infinity;
      for (let k = 0; k < d.x.length; k++) { const far = Math.abs(chart.X(d.x[k]) - at); if (far < near) { near = far; best = k; } }
      if (best >= 0) found.push({ i, near, label: d.label, x: d.x[best], y: d.y[best] });
    });
    leave(chart);
    if (!found.length) return;
    const closest = found.reduce((a, b) => b.near < a.near ? b : a);
    const px = chart.X(closest.x), down = (event.clientY - box.top) / box.height * H;
    chart.svg.append(el("line", { class: "cursor", x1: px, x2: px, y1: T, y2: H - B }));
    const shown = found.filter(f => f.near < 40).sort((a, b) => Math.abs(chart.Y(a.y) - down) - Math.abs(chart.Y(b.y) - down)).slice(0, 6);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.append("step " + short(closest.x));
    for (const f of shown) {
      const row = document.createElement("div"), dot = document.createElement("i");
      row.className = style(f.i).split(" ")[0];
      row.append(dot, f.label + "  " + short(f.y));
      tip.append(row);
    }
    chart.figure.append(tip);
    const left = px / W * box.width + chart.svg.offsetLeft;
    tip.style.top = chart.svg.offsetTop + 8 + "px";
    tip.style.left = (px < W / 2 ? left + 12 : Math.max(4, left - tip.offsetWidth - 12)) + "px";
  }
  const leave = chart => chart.figure.querySelectorAll(".tip, .cursor").forEach(e => e.remove());

  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", e => point(chart, e));
    chart.svg.addEventListener("pointerleave", () => leave(chart));
  }
  for (const control of [log, smooth]) control.addEventListener("input", () => charts.forEach(redraw));

  document.querySelectorAll("table.sortable").forEach(table => {
    table.querySelectorAll("thead th").forEach((th, column) => th.querySelector("button").addEventListener("click", () => {
      const down = th.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = row => { const c = row.cells[column]; return c.dataset.v !== undefined ? +c.dataset.v : c.textContent; };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const p = value(a), q = value(b);
        const order = typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q), "en", { numeric: true });
        return down ? order : -order;
      });
      table.tBodies[0].append(...rows);
    }));
  });
})();
