// The playground: conversations with one model, or with two side by side.
import { AnswerTurn, element, userTurn } from "./chat_turn.js";
import { ask, codeOf, cost, post } from "./chat_stream.js";
import { copies } from "./copy.js";

const by = (id) => document.getElementById(id);
const lanes = [0, 1].map((number) => ({ root: by(`lane-${number}`), select: by(`model-${number}`), messages: [], owed: new Set() }));
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const OBJECTS = { tools: "tools", response_format: "response_format" };
let key = null; // in this page's memory alone
let stopping = null;

const shown = () => lanes.slice(0, by("compare").checked ? 2 : 1);

function tell(message) {
  by("said").hidden = !message;
  by("said").textContent = message;
}

function parsed(id, label) {
  const text = by(id).value.trim();
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${label}: ${error.message}`);
  }
}

// The body of a request; throws what is wrong with the parameters.
function bodyOf(lane) {
  const system = by("system").value.trim();
  const messages = system ? [{ role: "system", content: system }, ...lane.messages] : lane.messages;
  const body = { model: lane.select.value, messages };
  for (const name of NUMBERS) if (by(name).value !== "") body[name] = Number(by(name).value);
  if (by("reasoning_effort").value) body.reasoning_effort = by("reasoning_effort").value;
  for (const [id, name] of Object.entries(OBJECTS)) {
    const found = parsed(id, id === "tools" ? "Tools" : "Form of the answer");
    if (found !== undefined) body[name] = found;
  }
  return { ...body, ...parsed("more", "Other parameters"), stream: true, stream_options: { include_usage: true } };
}

async function answer(lane, signal) {
  const turn = new AnswerTurn(lane.root, lane.select.value, (call, text) => gave(lane, call, text));
  let id = null;
  try {
    await ask(bodyOf(lane), key?.key, signal, (own) => (id = own), (chunk) => turn.take(chunk));
    keep(lane, turn);
    turn.ended(id ? await cost(id) : null);
  } catch (error) {
    if (signal.aborted) {
      keep(lane, turn);
      turn.failed("Stopped.");
      turn.ended(id ? await cost(id) : null);
    } else {
      turn.failed(error.message);
      turn.figures.textContent = "";
      lane.messages.pop();
    }
  }
}

function keep(lane, turn) {
  if (turn.text || turn.calls.length) lane.messages.push(turn.message());
  lane.owed = new Set(turn.calls.map((call) => call.id));
}

async function run(of) {
  tell("");
  stopping = new AbortController();
  by("send").disabled = true;
  by("stop").disabled = false;
  await Promise.all(of.map((lane) => answer(lane, stopping.signal)));
  by("send").disabled = false;
  by("stop").disabled = true;
  stopping = null;
}

function gave(lane, call, text) {
  lane.messages.push({ role: "tool", tool_call_id: call.id, content: text });
  lane.owed.delete(call.id);
  userTurn(lane.root, text, call.function.name);
  if (!lane.owed.size) run([lane]);
}

function send() {
  const text = by("text").value;
  if (!text.trim() || stopping) return;
  try {
    shown().forEach(bodyOf);
  } catch (error) {
    tell(error.message);
    return;
  }
  if (shown().some((lane) => lane.owed.size)) {
    tell("A tool that was called has said nothing yet.");
    return;
  }
  by("text").value = "";
  for (const lane of shown()) {
    lane.messages.push({ role: "user", content: text });
    userTurn(lane.root, text);
  }
  run(shown());
}

function clear() {
  stopping?.abort();
  for (const lane of lanes) {
    lane.root.replaceChildren();
    lane.messages = [];
    lane.owed = new Set();
  }
  by("code").hidden = true;
  tell("");
  by("text").focus();
}

async function showCode() {
  const place = by("code");
  try {
    const found = await codeOf(bodyOf(lanes[0]));
    place.replaceChildren(...found.flatMap(({ name, text }) => {
      const title = element("h2", "", `${name} `);
      const block = element("pre", "", text);
      block.tabIndex = 0;
      if (navigator.clipboard) {
        const button = element("button", "plain small", "Copy");
        button.type = "button";
        copies(button, () => text);
        title.append(button);
      }
      return [title, block];
    }));
    place.hidden = false;
  } catch (error) {
    tell(error.message);
  }
}

function showEfforts() {
  const chosen = by("reasoning_effort").value;
  const known = new Set(shown().flatMap((lane) => lane.select.selectedOptions[0]?.dataset.efforts.split(" ") ?? []));
  const options = ["", ...known].filter((each, index) => each || !index);
  by("reasoning_effort").replaceChildren(...options.map((each) => new Option(each || "default", each, false, each === chosen)));
}

function begin() {
  by("ground").hidden = false;
  by("text").focus();
}

async function start(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    key = await post("/console/chat/key", Object.fromEntries(new FormData(event.target)));
    event.target.hidden = true;
    begin();
  } catch (error) {
    by("start-said").textContent = error.message;
  }
  button.disabled = false;
}

// The key ends with the page.
function leave() {
  if (!key) return;
  const form = new URLSearchParams({ csrf: document.body.dataset.csrf, key_id: key.key_id });
  navigator.sendBeacon("/console/chat/key/end", form);
  key = null;
}

if (by("chat")) {
  by("start")?.addEventListener("submit", start);
  by("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  by("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  by("stop").addEventListener("click", () => stopping?.abort());
  by("clear").addEventListener("click", clear);
  by("export").addEventListener("click", showCode);
  by("compare").addEventListener("change", () => {
    by("second").hidden = lanes[1].root.hidden = !by("compare").checked;
    showEfforts();
  });
  for (const lane of lanes) lane.select.addEventListener("change", showEfforts);
  showEfforts();
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}
