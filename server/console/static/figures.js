// Figures as pages say them: server/console/words.py has the same.
export const GONE = "–";
export const gigabytes = (size) => (size == null ? GONE : `${(size / 1e9).toFixed(1)} GB`);
export const rate = (value) => (value == null ? GONE : value.toFixed(value < 100 ? 1 : 0));
export const percent = (part) => (part == null ? GONE : `${Math.round(part * 100)} %`);
export const width = (part, whole) => (part && whole > 0 ? Math.round(1000 * Math.min(1, part / whole)) : 0);

export function latency(time) {
  if (time == null) return GONE;
  return time < 10000 ? `${time.toFixed(0)} ms` : `${(time / 1000).toFixed(1)} s`;
}

export function state(model) {
  let first = model.state.replaceAll("_", " ");
  if (model.percent != null) first += ` ${model.percent} %`;
  if (model.replicas > 1) first = `${model.ready_replicas} of ${model.replicas} ${first}`;
  const parts = [first];
  const rests = ["ready", "cold", "failed", "sleeping"].includes(model.state);
  if (model.eta_s && !rests) parts.push(`about ${model.eta_s} s`);
  if (model.command) parts.push(`${model.command} asked for`);
  if (!model.is_open) parts.push("closed to requests");
  return parts.join(", ");
}

// The commands that would change something: server/console/views/now.py has the same.
export function possible(model) {
  const away = ["cold", "failed", "sleeping"].includes(model.state) || !model.is_open;
  const found = [model.is_pinned ? "unpin" : "pin"];
  if (away) found.push("load");
  if (model.state === "ready" && !model.is_pinned && model.replicas === 1) found.push("sleep");
  if (!["cold", "failed", "stopping"].includes(model.state)) found.push("unload");
  return found;
}

// Words between backticks are what somebody types.
export function coded(text) {
  return text.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    const made = document.createElement("code");
    made.textContent = part;
    return made;
  });
}
