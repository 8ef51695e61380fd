"""Checks: fields that came from other servers and are honoured: continued answers, cut prompts."""

from server.conform import expect
from server.conform.check import declared
from server.conform.target import COMPLETIONS, FIXED, HELLO, Target

BEGUN = ({"role": "user", "content": "Hi you"}, {"role": "assistant", "content": "Hi, I am"})


@declared("field-continue")
def continued_answers(t: Target) -> None:
    """continue_final_message and prefix go on with the last answer: a shorter prompt, and a text"""
    new = expect.ok(t.chat(messages=BEGUN, **FIXED))["usage"]["prompt_tokens"]
    prefix = [BEGUN[0], {**BEGUN[1], "prefix": True}]
    for fields in ({"messages": BEGUN, "continue_final_message": True}, {"messages": prefix}):
        tokens = expect.ok(t.chat(**fields, **FIXED))["usage"]["prompt_tokens"]
        expect.that(tokens <= new, f"at most {new} prompt tokens", tokens)
        expect.status(t.stream(**fields), 200)


@declared("field-continue")
def nothing_to_continue(t: Target) -> None:
    """Without an answer at the end, or with add_generation_prompt true: 400"""
    for fields in (
        {"messages": HELLO, "continue_final_message": True},
        {"messages": BEGUN, "continue_final_message": True, "add_generation_prompt": True},
    ):
        expect.refused(t.chat(**fields), 400, "INVALID_PARAMETER")


@declared("field-truncate")
def cut_prompts(t: Target) -> None:
    """truncate_prompt_tokens keeps so many tokens of a prompt, at its end or its beginning"""
    for side in (None, "left", "right"):
        body = {"model": t.model, "prompt": "one two three four five six", "max_tokens": 1}
        cut = {"truncate_prompt_tokens": 3, "truncation_side": side}
        usage = expect.ok(t.post(COMPLETIONS, body | cut))["usage"]
        expect.equal("prompt_tokens", usage["prompt_tokens"], 3)


@declared("field-truncate", alone=True)
def cut_texts_that_no_context_holds(t: Target) -> None:
    """A text that no context holds is read and cut, also in a stream"""
    # Alone: an engine on a processor reads a whole context for a minute.
    long = "one two three four five six. " * 18_000
    cut = {"prompt": long, "max_tokens": 1, "truncate_prompt_tokens": 16}
    usage = expect.ok(t.post(COMPLETIONS, {"model": t.model} | cut))["usage"]
    expect.equal("prompt_tokens", usage["prompt_tokens"], 16)
    messages = t.said(long)
    expect.status(t.stream(messages=messages, truncate_prompt_tokens=-1, max_tokens=1), 200)


@declared("field-echo")
def echoed_prompts(t: Target) -> None:
    """echo with max_tokens 0 gives the prompt alone; without echo that is a 400"""
    body = {"model": t.model, "prompt": "one two three", "max_tokens": 0}
    answer = expect.ok(t.post(COMPLETIONS, body | {"echo": True}))
    expect.equal("text", answer["choices"][0]["text"], "one two three")
    expect.equal("completion_tokens", answer["usage"]["completion_tokens"], 0)
    expect.refused(t.post(COMPLETIONS, body), 400, "INVALID_PARAMETER")


@declared("field-echo")
def log_probabilities_of_a_prompt(t: Target) -> None:
    """echo with logprobs tells those of the prompt: lm-eval's request"""
    body = {"model": t.model, "prompt": "one two three four", "max_tokens": 1, "logprobs": 1}
    asked = t.post(COMPLETIONS, body | {"echo": True, "temperature": 0, "seed": 1234})
    t.unless_refused(asked, "log probabilities of a prompt")
    answer = expect.ok(asked)
    told, count = answer["choices"][0]["logprobs"], answer["usage"]["prompt_tokens"] + 1
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        expect.equal(f"{name}", len(told[name]), count)
    expect.equal("the first", told["token_logprobs"][0], None)
    expect.that(all(x <= 0 for x in told["token_logprobs"][1:]), "at most 0", told)


@declared("field-system")
def several_system_messages(t: Target) -> None:
    """System messages may be several, and stand anywhere"""
    system = {"role": "system", "content": "Be brief."}
    expect.content(t.chat(messages=[system, system, *HELLO]))
    expect.content(t.chat(messages=[system, *BEGUN, system, *HELLO]))


@declared("field-stored")
def what_is_stored_has_a_bound(t: Target) -> None:
    """user, agent_id and metadata over 512 bytes: 400 naming the field"""
    long = "x" * 513
    for name, value in (("user", long), ("agent_id", long), ("metadata", {"k": long})):
        error = expect.refused(t.chat(**{name: value}), 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), name)
    expect.content(t.chat(user="x" * 512))


@declared("error-empty-prompt")
def empty_prompt(t: Target) -> None:
    """An empty prompt is read where a model begins by itself, else a 400 that says so"""
    answer = t.post(COMPLETIONS, {"model": t.model, "prompt": "", "max_tokens": 1})
    if answer.status_code != 200:
        expect.refused(answer, 400, "INVALID_PARAMETER")
