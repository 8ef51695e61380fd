// Ollama's own client for Node: whole, streamed, tools, vectors, lists, errors.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const client = new Ollama({
  host: process.env.FJORD_URL,
  headers: { Authorization: `Bearer ${process.env.FJORD_KEY}` },
});
const ask = { model: "mixtral-8x7b", messages: [{ role: "user", content: "Hei på deg 🫐" }] };

const { models } = await client.list();
assert(models.some((model) => model.name === "mixtral-8x7b"));
assert((await client.show({ model: "thinking" })).capabilities.includes("thinking"));
assert(Array.isArray((await client.ps()).models));

const whole = await client.chat(ask);
assert.equal(whole.message.content, "Hei på deg 🫐");
assert(whole.eval_count > 0);

let said = "";
let last;
for await (last of await client.chat({ ...ask, stream: true })) said += last.message.content;
assert.equal(said, "Hei på deg 🫐");
assert.equal(last.done_reason, "stop");
assert.equal((await client.generate({ model: "mixtral-8x7b", prompt: "Hei", raw: true })).response, "Hei");

const parameters = { type: "object", properties: { city: { enum: ["Oslo"] } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", description: "", parameters } }];
const called = await client.chat({ ...ask, model: "agent", tools });
assert.deepEqual(called.message.tool_calls[0].function.arguments, { city: "Oslo" });

const thought = await client.chat({ ...ask, model: "thinking", think: true });
assert.equal(thought.message.thinking, "Norway, so Oslo.");
const vectors = await client.embed({ model: "vectors", input: ["a", "b"] });
assert.equal(vectors.embeddings.length, 2);
assert.equal((await client.pull({ model: "mixtral-8x7b" })).status, "success");

await assert.rejects(client.chat({ ...ask, model: "no-such" }), /Unknown model 'no-such'/);
await assert.rejects(client.chat({ ...ask, options: { temperature: 3 } }), /options.temperature/);
await assert.rejects(client.delete({ model: "mixtral-8x7b" }), /fjord apply/);

const left = await client.chat({ ...ask, model: "long", stream: true });
for await (const _ of left) break; // leaves the stream: the server must not mind
left.abort();
assert.equal((await client.chat(ask)).message.content, "Hei på deg 🫐");
