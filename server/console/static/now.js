// What runs now, kept up to date: an event a second, while somebody looks at the page.
import { GONE, coded, gigabytes, latency, percent, possible, rate, state, width } from "./figures.js";
import { add, begin } from "./plots.js";

const live = document.getElementById("live");
const rows = document.getElementById("models");
let source = null;
let again = 0;

function put(within, name, text) {
  const place = within.querySelector(`[data-k="${name}"]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function showTotal(total) {
  const tiles = document.getElementById("total");
  put(tiles, "tokens_per_s", rate(total.tokens_per_s));
  put(tiles, "running", String(total.running));
  put(tiles, "queued", String(total.queued));
  put(tiles, "ttft_p50_ms", latency(total.ttft_p50_ms));
  put(tiles, "ttft_p90_ms", latency(total.ttft_p90_ms));
}

function showModel(row, model) {
  row.querySelector('[data-k="dot"]').className = `dot ${model.state}`;
  put(row, "state", state(model));
  put(row, "reason", model.reason ?? "");
  put(row, "keep", model.keep ?? "");
  const able = possible(model);
  for (const form of row.querySelectorAll("form")) form.hidden = !able.includes(form.dataset.command);
  if (model.swaps) showTraffic(row, model);
}

function showTraffic(row, model) {
  put(row, "running", String(model.running));
  put(row, "queued", String(model.queued));
  put(row, "tokens_per_s", rate(model.tokens_per_s));
  put(row, "ttft", `${latency(model.ttft_p50_ms)} / ${latency(model.ttft_p90_ms)}`);
  put(row, "kv_usage", percent(model.kv_usage));
  put(row, "memory", gigabytes(model.measured_bytes ?? model.planned_bytes));
  const swaps = model.swaps;
  put(row, "swaps", String(swaps.loads + swaps.unloads + swaps.sleeps + swaps.wakes));
}

function showBar(card, name, part, whole, most) {
  const row = card.querySelector(`tr[data-k="${name}"]`);
  row.querySelector(".part").setAttribute("width", width(part, whole));
  const text = part == null ? GONE : `${gigabytes(part)} of ${gigabytes(most)}`;
  if (row.lastElementChild.textContent !== text) row.lastElementChild.textContent = text;
}

function showDevice(card, device) {
  showBar(card, "planned", device.planned_bytes, device.total_bytes, device.usable_bytes);
  showBar(card, "used", device.used_bytes, device.total_bytes, device.total_bytes);
  showBar(card, "kv", device.kv_used_bytes, device.kv_bytes, device.kv_bytes);
  const lines = device.engines.map((engine) => {
    const item = document.createElement("li");
    const size = gigabytes(engine.measured_bytes ?? engine.planned_bytes);
    item.textContent = `${engine.aliases.join(", ")}: ${size} ${engine.measured_bytes ? "taken" : "planned"}`;
    return item;
  });
  card.querySelector('[data-k="engines"]').replaceChildren(...lines);
}

function showAlerts(alerts) {
  const place = document.getElementById("alerts");
  const said = JSON.stringify(alerts);
  if (place.dataset.said === said) return;
  place.dataset.said = said;
  place.replaceChildren(...alerts.map((alert) => {
    const made = document.createElement("article");
    made.className = `alert ${alert.severity}`;
    const title = document.createElement("h2");
    const severity = document.createElement("small");
    severity.textContent = alert.severity;
    title.append(`${alert.summary} `, severity);
    const action = document.createElement("p");
    action.append(...coded(alert.action));
    made.append(title, action);
    return made;
  }));
}

function show(now) {
  const found = new Map([...rows.rows].map((row) => [row.dataset.alias, row]));
  const cards = document.querySelectorAll("#devices .device");
  const isAsBefore = now.models.length === found.size && now.models.every((model) => found.has(model.alias));
  const devices = now.devices ?? []; // null: to an owner's people, as total is
  if (!isAsBefore || cards.length !== devices.length) {
    location.replace("/console");
    return;
  }
  for (const model of now.models) showModel(found.get(model.alias), model);
  devices.forEach((device, index) => showDevice(cards[index], device));
  showAlerts(now.alerts);
  if (now.total) {
    showTotal(now.total);
    add(now.total);
  }
  live.textContent = now.draining ? "the server shuts down" : "live";
}

function watch() {
  clearTimeout(again);
  if (source || document.hidden) return;
  source = new EventSource("/console/now/events");
  source.addEventListener("now", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    live.textContent = "not live; it is tried again";
    if (source.readyState !== EventSource.CLOSED) return;
    source = null;
    again = setTimeout(watch, 5000);
    leaveIfSignedOut();
  });
}

// The page itself then leads to the door.
async function leaveIfSignedOut() {
  const asked = await fetch("/console", { redirect: "manual" }).catch(() => null);
  if (asked?.type === "opaqueredirect") location.replace("/console");
}

function rest() {
  source?.close();
  source = null;
}

if (document.getElementById("plots")) begin(document.getElementById("plots"));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : watch()));
addEventListener("pagehide", rest);
addEventListener("pageshow", watch);
watch();
