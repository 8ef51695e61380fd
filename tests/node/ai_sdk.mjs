// The Vercel AI SDK over its OpenAI-compatible provider: text, streams, objects, tools, reasoning.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from "ai";

const fjord = createOpenAICompatible({
  name: "fjord",
  baseURL: `${process.env.FJORD_URL}/v1`,
  apiKey: process.env.FJORD_KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = fjord("mixtral-8x7b");
const prompt = "Hei på deg 🫐";

const whole = await generateText({ model, prompt, maxRetries: 0 });
assert.equal(whole.text, prompt);
assert.equal(whole.finishReason, "stop");
assert(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0);

const streamed = streamText({ model, prompt, maxRetries: 0 });
let said = "";
for await (const piece of streamed.textStream) said += piece;
assert.equal(said, prompt);
assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);

const thought = await generateText({ model: fjord("thinking"), prompt, maxRetries: 0 });
assert.equal(thought.reasoningText, "Norway, so Oslo.");
assert.equal(thought.text, "Oslo.");

const schema = jsonSchema({
  type: "object",
  properties: { city: { type: "string", enum: ["Oslo", "Bergen"] } },
  required: ["city"],
  additionalProperties: false,
});
const formed = await generateText({ model, prompt, output: Output.object({ schema }), maxRetries: 0 });
assert.deepEqual(formed.output, { city: "Oslo" });

const weather = tool({ description: "The weather.", inputSchema: schema });
const called = await generateText({
  model,
  prompt,
  tools: { weather },
  toolChoice: "required",
  maxRetries: 0,
});
assert.deepEqual(called.toolCalls[0].input, { city: "Oslo" });
const streamedCall = streamText({ model, prompt, tools: { weather }, toolChoice: "required", maxRetries: 0 });
assert.deepEqual((await streamedCall.toolCalls)[0].input, { city: "Oslo" });

const vectors = await embedMany({ model: fjord.embeddingModel("vectors"), values: ["a", "b"] });
assert.equal(vectors.embeddings.length, 2);

await assert.rejects(
  generateText({ model: fjord("no-such"), prompt, maxRetries: 0 }),
  (e) => e.statusCode === 404 && /no-such/.test(e.message),
);
