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
