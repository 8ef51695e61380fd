// Anthropic's own client for Node: whole, streamed, a tool runner's loop, counting, errors, retries.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

const options = { baseURL: process.env.FJORD_URL, apiKey: process.env.FJORD_KEY, maxRetries: 0 };
const client = new Anthropic(options);
const text = "Hei på deg 🫐";
const ask = { model: "mixtral-8x7b", max_tokens: 100, messages: [{ role: "user", content: text }] };

const ids = [];
for await (const model of client.models.list({ limit: 1 })) ids.push(model.id);
assert(ids.includes("mixtral-8x7b"));

const whole = await client.messages.create(ask);
assert.deepEqual(whole.content, [{ type: "text", text }]);
assert.equal(whole.stop_reason, "end_turn");
assert(whole._request_id);

const counted = await client.messages.countTokens({ model: ask.model, messages: ask.messages });
assert.equal(counted.input_tokens, whole.usage.input_tokens);

const stream = client.messages.stream(ask);
let said = "";
stream.on("text", (piece) => (said += piece));
const final = await stream.finalMessage();
assert.equal(said, text);
assert.deepEqual(final.usage, whole.usage);

const asked = [];
const weather = betaTool({
  name: "weather",
  description: "The weather of a place",
  inputSchema: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
  run: (input) => (asked.push(input.place), "rain"),
});
const turn = { model: "agent", max_tokens: 100, tools: [weather], messages: ask.messages };
for (const stream of [false, true]) {
  const ended = await client.beta.messages.toolRunner({ ...turn, stream }).runUntilDone();
  assert.equal(ended.stop_reason, "end_turn");
}
assert.equal(asked.length, 2);

const thinking = { type: "enabled", budget_tokens: 1024 };
const thought = await client.messages
  .stream({ ...ask, model: "thinking", max_tokens: 2000, thinking })
  .finalMessage();
assert.deepEqual(thought.content.map((block) => block.type), ["thinking", "text"]);
assert(thought.content[0].signature);

const refused = async (kind, body, by = client) => {
  const error = await by.messages.create({ ...ask, ...body }).then(() => null, (e) => e);
  assert(error instanceof kind, `${error}`);
  assert(error.requestID);
  return error;
};
await refused(Anthropic.BadRequestError, { temperature: 1.5 });
await refused(Anthropic.NotFoundError, { model: "no-such" });
const wrong = new Anthropic({ ...options, apiKey: "wayscloud_llm_wrong" });
assert.equal((await refused(Anthropic.AuthenticationError, {}, wrong)).type, "authentication_error");
