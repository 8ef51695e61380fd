"""All checks, in the order of the contract."""

from server.conform import (
    answers,
    audio,
    batches,
    beyond,
    bodies,
    borrowed,
    choices,
    context,
    embeddings,
    ends,
    errors,
    examples,
    fields,
    forms,
    headers,
    hostile,
    images,
    keys,
    leaving,
    memory,
    messages,
    models,
    ollama,
    paths,
    ranges,
    reasoning,
    streams,
    thinking,
)
from server.conform.check import Check, checks_of

TOPICS = (
    paths,
    keys,
    models,
    examples,
    fields,
    borrowed,
    ranges,
    ends,
    context,
    choices,
    forms,
    answers,
    reasoning,
    thinking,
    streams,
    errors,
    bodies,
    hostile,
    headers,
    audio,
    embeddings,
    images,
    messages,
    memory,
    batches,
    ollama,
    beyond,
    leaving,
)


def all_checks() -> list[Check]:
    """Every check once."""
    return [check for topic in TOPICS for check in checks_of(topic)]
