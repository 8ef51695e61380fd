// Usage by day as bars: drawn again when the filter brings other numbers, the window or the colours change.
let drawn = null;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

function options(width, title) {
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  return {
    width, height: 240, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    legend: { live: true }, cursor: { drag: { x: false, y: false } },
    scales: { x: { range: (_, least, most) => [least - 43200, most + 43200] }, y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, values: (_, all) => all.map((each) => day(each).slice(5)), incrs: [1, 2, 7, 14, 30, 90, 365].map((each) => each * 86400) },
      { ...axis, size: 64, values: (_, all) => all.map((each) => short.format(each)) },
    ],
    series: [
      { label: "Day (UTC)", value: (_, at) => (at == null ? "–" : day(at)) },
      { label: title, fill: colour("--accent"), stroke: colour("--accent"), paths: uPlot.paths.bars({ size: [0.7, 60] }), points: { show: false }, value: (_, it) => (it == null ? "–" : it.toLocaleString("en")) },
    ],
  };
}

function draw() {
  const box = document.querySelector("[data-plot]");
  drawn?.destroy();
  drawn = null;
  if (!box || !window.uPlot) return;
  const plot = JSON.parse(box.dataset.plot);
  const chosen = box.querySelector("select");
  box.hidden = false;
  if (!chosen.options.length) {
    for (const figure of plot.figures) chosen.add(new Option(figure.title));
    chosen.selectedIndex = Math.max(0, plot.figures.findIndex((figure) => figure.title === sessionStorage.getItem("figure")));
    chosen.addEventListener("change", (event) => { event.stopPropagation(); sessionStorage.setItem("figure", chosen.value); draw(); });
  }
  const figure = plot.figures[chosen.selectedIndex];
  const place = box.querySelector(".plot");
  drawn = new uPlot(options(place.clientWidth, figure.title), [plot.days, figure.values], place);
}

let waiting = 0;
addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("htmx:afterSwap", draw);
draw();
