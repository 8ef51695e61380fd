// A turn of a conversation on the page. What a model says is text, whatever it looks like.

export function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Fenced code stands apart; all else is as it came.
function said(text) {
  const parts = text.split(/^```[^\n]*$/m);
  return parts.map((part, index) => {
    if (index % 2 === 0) return part.trim() ? element("div", "text", part.replace(/^\n|\n$/g, "")) : "";
    const block = element("pre");
    block.tabIndex = 0;
    block.append(element("code", "", part.replace(/^\n|\n$/g, "")));
    return block;
  });
}

export function userTurn(lane, text, title = "You") {
  const turn = element("article", "turn user");
  turn.append(element("h2", "", title), element("div", "text", text));
  lane.append(turn);
  turn.scrollIntoView({ block: "nearest" });
}

export class AnswerTurn {
  // `model` is its name; `gives` is called with a call's id and what its tool said.
  constructor(lane, model, gives) {
    this.text = "";
    this.thought = "";
    this.calls = [];
    this.usage = null;
    this.gives = gives;
    this.began = performance.now();
    this.first = null;
    this.root = element("article", "turn answer");
    this.thoughts = element("details");
    this.thoughts.hidden = true;
    this.thoughtText = element("div", "text");
    this.thoughts.append(element("summary", "", "Thinking"), this.thoughtText);
    this.body = element("div");
    this.callsPlace = element("div");
    this.figures = element("p", "figures", "…");
    this.root.append(element("h2", "", model), this.thoughts, this.body, this.callsPlace, this.figures);
    lane.append(this.root);
    this.isDue = false;
  }

  take(chunk) {
    if (chunk.usage) this.usage = chunk.usage;
    const delta = chunk.choices?.[0]?.delta;
    if (!delta) return;
    const thought = delta.reasoning_content ?? delta.reasoning ?? "";
    if (this.first === null && (delta.content || thought || delta.tool_calls)) this.first = performance.now();
    this.thought += thought;
    this.text += delta.content ?? "";
    for (const call of delta.tool_calls ?? []) this.takeCall(call);
    this.draw();
  }

  takeCall(call) {
    const own = (this.calls[call.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (call.id) own.id = call.id;
    own.function.name += call.function?.name ?? "";
    own.function.arguments += call.function?.arguments ?? "";
  }

  // Once a frame, however many tokens came.
  draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    this.isDue = false;
    this.thoughts.hidden = !this.thought;
    this.thoughtText.textContent = this.thought;
    this.body.replaceChildren(...said(this.text));
    this.callsPlace.replaceChildren(...this.calls.map((call) => {
      const block = element("pre", "", `${call.function.name}(${call.function.arguments})`);
      block.tabIndex = 0;
      return block;
    }));
    this.root.scrollIntoView({ block: "nearest" });
  }

  // The message that goes into the conversation.
  message() {
    const made = { role: "assistant", content: this.text || null };
    if (this.calls.length) made.tool_calls = this.calls;
    return made;
  }

  ended(cost) {
    this.drawNow();
    const parts = [];
    if (this.usage) parts.push(`${this.usage.prompt_tokens} tokens in, ${this.usage.completion_tokens} out`);
    const thought = this.usage?.completion_tokens_details?.reasoning_tokens;
    if (thought) parts.push(`${thought} of them thought`);
    const first = cost?.ttft_ms ?? (this.first === null ? null : this.first - this.began);
    if (first !== null) parts.push(`first after ${Math.round(first)} ms`);
    if (cost?.tokens_per_s) parts.push(`${cost.tokens_per_s} tokens/s`);
    if (cost?.amount) parts.push(`${cost.amount.replace(/0{1,4}$/, "")} ${cost.currency}`);
    if (cost?.end && cost.end !== "ok") parts.push(cost.end.replaceAll("_", " "));
    this.figures.textContent = parts.join(" · ");
    for (const call of this.calls) this.askForResult(call);
  }

  askForResult(call) {
    const form = element("form", "row");
    const label = element("label", "", `What ${call.function.name} says`);
    const field = element("textarea", "mono");
    field.id = label.htmlFor = `call-${call.id}`;
    field.rows = 2;
    const button = element("button", "plain small", "Give it");
    form.append(label, field, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.remove();
      this.gives(call, field.value);
    });
    this.callsPlace.append(form);
  }

  failed(message) {
    this.drawNow();
    this.root.append(element("p", "failed", message));
  }
}
