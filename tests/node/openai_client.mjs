// OpenAI's own client for Node: whole, streamed, tools, vectors, errors.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({
  baseURL: `${process.env.FJORD_URL}/v1`,
  apiKey: process.env.FJORD_KEY,
  maxRetries: 0,
});
const ask = { model: "mixtral-8x7b", messages: [{ role: "user", content: "Hei på deg 🫐" }] };

const ids = [];
for await (const model of client.models.list()) ids.push(model.id);
assert(ids.includes("mixtral-8x7b"));

const whole = await client.chat.completions.create(ask);
assert.equal(whole.choices[0].message.content, "Hei på deg 🫐");
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

let said = "";
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }))
  said += chunk.choices[0].delta.content ?? ""; // without `?.`: every chunk has a choice
assert.equal(said, "Hei på deg 🫐");

const runner = client.chat.completions.stream(ask);
assert.equal(await runner.finalContent(), "Hei på deg 🫐");

const parameters = { type: "object", properties: { city: { enum: ["Oslo"] } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
const called = await client.chat.completions.create({ ...ask, tools, tool_choice: "required" });
assert.equal(called.choices[0].finish_reason, "tool_calls");
assert.deepEqual(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments), { city: "Oslo" });

// The client asks for base64 by itself and unpacks it.
const vectors = await client.embeddings.create({ model: "vectors", input: ["a", "b"] });
assert.equal(vectors.data.length, 2);
assert.equal(typeof vectors.data[0].embedding[0], "number");

const answered = await client.responses.create({ model: "mixtral-8x7b", input: "Hei", store: false });
assert.equal(answered.output_text, "Hei");

const said1 = { model: "mixtral-8x7b", input: "Hei" };
const kept = await client.responses.create(said1);
assert.equal((await client.responses.retrieve(kept.id)).output_text, "Hei");
const onward = await client.responses.create({ ...said1, previous_response_id: kept.id });
assert(onward.usage.input_tokens > kept.usage.input_tokens);
const given = [];
for await (const item of client.responses.inputItems.list(onward.id)) given.push(item.content[0].text);
assert.deepEqual(given, ["Hei"]);
const events = [];
for await (const event of await client.responses.create({ ...said1, stream: true })) events.push(event);
const again = [];
const place = { stream: true, starting_after: 2 };
for await (const event of await client.responses.retrieve(events[0].response.id, place)) again.push(event);
assert.deepEqual(again, events.slice(3));
await client.responses.delete(kept.id);
await assert.rejects(client.responses.retrieve(kept.id), OpenAI.NotFoundError);
const running = await client.responses.create({ model: "long", input: "Hei", background: true });
assert.equal(running.status, "queued");
assert.equal((await client.responses.cancel(running.id)).status, "cancelled");

const talk = await client.conversations.create({ metadata: { a: "b" } });
await client.conversations.items.create(talk.id, { items: [{ type: "message", role: "user", content: "Hei" }] });
await client.responses.create({ ...said1, conversation: talk.id });
const turns = [];
for await (const item of client.conversations.items.list(talk.id, { order: "asc", limit: 1 })) turns.push(item);
assert.deepEqual(turns.map((item) => item.content[0].text), ["Hei", "Hei", "Hei"]);
assert.deepEqual((await client.conversations.update(talk.id, { metadata: { c: "d" } })).metadata, { c: "d" });
assert((await client.conversations.delete(talk.id)).deleted);

await assert.rejects(client.chat.completions.create({ ...ask, temperature: 3 }), (e) => {
  assert(e instanceof OpenAI.BadRequestError);
  assert.deepEqual([e.code, e.param], ["INVALID_PARAMETER", "temperature"]);
  return true;
});
await assert.rejects(
  client.chat.completions.create({ ...ask, model: "no-such" }),
  OpenAI.NotFoundError,
);

const left = await client.chat.completions.create({ ...ask, model: "long", stream: true });
for await (const _ of left) break; // leaves the stream: the server must not mind
assert.equal((await client.chat.completions.create(ask)).choices.length, 1);

const line = (n) => JSON.stringify({
  custom_id: `n${n}`,
  method: "POST",
  url: "/v1/chat/completions",
  body: { model: "mixtral-8x7b", messages: [{ role: "user", content: `Hei ${n}` }] },
});
const file = await client.files.create({
  file: await toFile(Buffer.from([0, 1, 2].map(line).join("\n")), "in.jsonl"),
  purpose: "batch",
});
let batch = await client.batches.create({
  input_file_id: file.id,
  endpoint: "/v1/chat/completions",
  completion_window: "24h",
});
const end = Date.now() + 60_000;
while (!["completed", "failed"].includes(batch.status) && Date.now() < end)
  batch = await client.batches.retrieve(batch.id);
assert.deepEqual(batch.request_counts, { total: 3, completed: 3, failed: 0 });
const output = await (await client.files.content(batch.output_file_id)).text();
assert.deepEqual(
  output.trim().split("\n").map((each) => JSON.parse(each).custom_id),
  ["n0", "n1", "n2"],
);
assert((await client.files.delete(file.id)).deleted);
