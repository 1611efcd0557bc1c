"use strict";
(() => {
  // Pixels of a page on paper, and of a screen that is too narrow for names beside a figure.
  const PAPER = 660, NARROW = 640;
  const element = (id) => document.getElementById(id);
  const figures = JSON.parse(element("figures").textContent);
  const hidden = new Set();
  const chosen = {};
  const narrow = () => window.innerWidth < NARROW;
  // Buttons by name: others of the library's would send data elsewhere.
  const config = () => ({
    responsive: true, displaylogo: false, displayModeBar: !narrow() && "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  });

  // Pixels that a legend above a figure needs beyond what each figure has room for.
  function legendHeight(traces) {
    const names = traces.filter((t) => t.showlegend).map((t) => t.name);
    if (!names.length) return 0;
    const width = (narrow() ? 6 : 7.2) * Math.max(...names.map((n) => n.length)) + 44;
    const columns = Math.max(1, Math.floor((document.querySelector(".plot").clientWidth - 100) / width));
    return 22 * Math.max(0, Math.ceil(names.length / columns) - 1);
  }

  function common(layout, traces) {
    const rows = layout.yaxis.type === "category";
    const text = { size: narrow() ? 11 : 13 };
    const axis = { gridcolor: "#e3e7ec", linecolor: "#8a94a0", ticks: "outside", tickcolor: "#8a94a0" };
    const made = {
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13, color: "#1b1f24" },
      paper_bgcolor: "#fff", plot_bgcolor: "#fff", hoverlabel: { align: "left" },
      margin: { l: narrow() ? 48 : 60, r: narrow() ? 8 : 40, t: 12, b: 48 },
      modebar: { orientation: "v" },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
      dragmode: narrow() ? false : "zoom",
      ...layout,
      height: layout.height + legendHeight(traces),
      xaxis: { ...axis, ...layout.xaxis, title: { ...layout.xaxis.title, font: text } },
      yaxis: { ...axis, ...layout.yaxis, title: { ...layout.yaxis.title, font: text } },
    };
    if (narrow() && rows) {
      // Names stand above their rows, since they would take half of the width beside them.
      made.height += 14 * layout.yaxis.categoryarray.length;
      made.margin.l = 8;
      Object.assign(made.yaxis, { showticklabels: false, ticks: "", automargin: false });
      made.annotations = layout.yaxis.categoryarray.map((name) => ({
        text: name, x: 0, xref: "paper", xanchor: "left", y: name, yref: "y", yshift: 14,
        showarrow: false, font: { size: 10 },
      }));
    }
    return made;
  }

  function layoutOf(figure, choice, traces) {
    const change = choice === undefined ? {} : figure.choices[choice].layout;
    const layout = JSON.parse(JSON.stringify(figure.layout));
    for (const [key, value] of Object.entries(change)) {
      layout[key] = typeof value === "object" && !Array.isArray(value) ? { ...layout[key], ...value } : value;
    }
    return common(layout, traces);
  }

  function tracesOf(figure, choice) {
    const shown = choice === undefined ? figure.data : figure.choices[choice].traces.map((k) => figure.data[k]);
    return shown.filter((trace) => !hidden.has(trace.meta));
  }

  function draw(name) {
    const place = document.querySelector(`[data-figure="${name}"] .plot`);
    const figure = figures[name];
    const choice = figure.choices.length ? chosen[name] || 0 : undefined;
    const traces = structuredClone(tracesOf(figure, choice));
    return Plotly.react(place, traces, layoutOf(figure, choice, traces), config());
  }

  function drawWhenSeen() {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        seen.unobserve(entry.target);
        draw(entry.target.dataset.figure);
      }
    }, { rootMargin: "600px" });
    document.querySelectorAll("[data-figure]").forEach((figure) => seen.observe(figure));
  }

  function redraw() {
    return Object.keys(figures).map(draw);
  }

  function listen() {
    document.querySelectorAll("[data-choices]").forEach((select) => {
      select.addEventListener("change", () => {
        chosen[select.dataset.choices] = Number(select.value);
        draw(select.dataset.choices);
      });
    });
    document.querySelectorAll("[data-run]").forEach((box) => {
      box.addEventListener("change", () => {
        box.checked ? hidden.delete(box.dataset.run) : hidden.add(box.dataset.run);
        redraw();
      });
    });
    const paper = window.matchMedia("print");
    const fit = (width) => document.querySelectorAll(".plot").forEach((place) => {
      place.style.width = width;
      if (place.data) Plotly.Plots.resize(place);
    });
    window.addEventListener("beforeprint", () => { redraw(); fit(`${PAPER}px`); });
    window.addEventListener("afterprint", () => fit(""));
    paper.addEventListener("change", (event) => { if (event.matches) { redraw(); fit(`${PAPER}px`); } else fit(""); });
  }

  async function library() {
    const packed = Uint8Array.from(atob(element("library").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  async function start() {
    if (narrow()) document.querySelector("nav details").open = false;
    if (!Object.keys(figures).length) return;
    try {
      await library();
    } catch (error) {
      element("no-figures").hidden = false;
      document.querySelectorAll(".plot").forEach((place) => { place.style.minHeight = "0"; });
      return;
    }
    listen();
    drawWhenSeen();
    document.documentElement.dataset.ready = "yes";
  }
  start();
})();
