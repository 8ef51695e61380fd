// The last minutes as lines.

const MOST = 300;
const moments = [];
let shown = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
const KINDS = [
  { title: "Tokens/s", lines: [["tokens/s", 1, "--accent"]] },
  { title: "Requests", lines: [["running", 2, "--accent"], ["queued", 3, "--warn"]] },
  { title: "First token, ms", lines: [["p50", 4, "--accent"], ["p90", 5, "--warn"]] },
];

function options(kind, size) {
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  return {
    ...size,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
    axes: [
      { ...axis, size: 24, space: 70, incrs: [1, 5, 10, 30, 60, 120], values: (_, at) => at.map((each) => new Date(each * 1000).toLocaleTimeString([], TIME)) },
      { ...axis, size: 44, values: (_, at) => at.map((each) => (each >= 10000 ? `${each / 1000}k` : String(each))) },
    ],
    series: [{}, ...kind.lines.map(([label, , name]) => ({ label, stroke: colour(name), width: 1.5, points: { show: false }, spanGaps: false }))],
  };
}

const data = (kind) => [moments.map((each) => each[0]), ...kind.lines.map(([, index]) => moments.map((each) => each[index]))];

function figure(place, kind) {
  const made = document.createElement("figure");
  made.setAttribute("aria-hidden", "true"); // the tiles and the table say the same
  const caption = document.createElement("figcaption");
  caption.textContent = kind.title;
  if (kind.lines.length > 1) {
    kind.lines.forEach(([label], index) => {
      const key = document.createElement("span");
      key.className = `key ${index ? "two" : "one"}`;
      key.textContent = label;
      caption.append(key);
    });
  }
  made.append(caption);
  place.append(made);
  return made;
}

function draw(place) {
  place.replaceChildren();
  const figures = KINDS.map((kind) => figure(place, kind)); // all of them, before one is measured
  shown = KINDS.map((kind, index) => {
    const size = { width: Math.max(200, figures[index].clientWidth - 20), height: 130 };
    return [kind, new uPlot(options(kind, size), data(kind), figures[index])];
  });
}

export function begin(place) {
  moments.push(...JSON.parse(place.dataset.history || "[]"));
  draw(place);
  let last = place.clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(place.clientWidth - last) < 4) return;
    last = place.clientWidth;
    draw(place);
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(place));
}

export function add(total) {
  moments.push(Object.values(total));
  if (moments.length > MOST) moments.shift();
  for (const [kind, plot] of shown) plot.setData(data(kind));
}

