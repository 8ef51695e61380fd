// One answer of chat completions: asked for, and read as it comes.

// What went wrong, in the server's own words.
async function refusal(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answered ${answer.status} ${answer.statusText}.`;
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const found = rest.split("\n");
      rest = found.pop();
      yield* found;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
  if (rest) yield rest;
}

function headers(key) {
  const made = { "Content-Type": "application/json", "X-CSRF-Token": document.body.dataset.csrf };
  if (key) made.Authorization = `Bearer ${key}`;
  return made;
}

// Calls `began` with the request's id, `took` with each chunk. Throws what went wrong.
export async function ask(body, key, signal, began, took) {
  const asked = { method: "POST", headers: headers(key), body: JSON.stringify(body), signal };
  const answer = await fetch("/console/chat/completions", asked);
  if (answer.redirected) throw new Error("You are no longer signed in: load the page again.");
  if (!answer.ok) throw new Error(await refusal(answer));
  began(answer.headers.get("x-request-id"));
  for await (const line of lines(answer.body)) {
    if (!line.startsWith("data:")) continue;
    const said = line.slice(5).trim();
    if (said === "[DONE]") break;
    const chunk = JSON.parse(said);
    if (chunk.error) throw new Error(chunk.error.message);
    took(chunk);
  }
}

// What a request cost, by its id; null where the server does not tell.
export async function cost(id) {
  for (const wait of [0, 200, 800]) {
    await new Promise((done) => setTimeout(done, wait));
    const answer = await fetch(`/console/chat/answers/${encodeURIComponent(id)}`);
    if (answer.status === 204) continue;
    return answer.ok && !answer.redirected ? answer.json() : null;
  }
  return null;
}

export async function post(path, fields) {
  const form = new URLSearchParams({ csrf: document.body.dataset.csrf, ...fields });
  const answer = await fetch(path, { method: "POST", body: form });
  if (answer.redirected) throw new Error("You are no longer signed in: load the page again.");
  if (!answer.ok) throw new Error(await refusal(answer));
  return answer.json();
}

export async function codeOf(body) {
  const asked = { method: "POST", headers: headers(""), body: JSON.stringify(body) };
  const answer = await fetch("/console/chat/code", asked);
  if (!answer.ok) throw new Error(await refusal(answer));
  return (await answer.json()).snippets;
}
