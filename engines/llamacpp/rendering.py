"""A request -> its prompt: the chat template, the tokenizer, and pictures in their places."""

from collections.abc import Callable
from functools import partial

from engines.base import GenerateRequest, Prompt
from engines.content import Picture
from engines.inputs import encodable
from engines.llamacpp.model import LlamacppModel


def prompt_of(
    model: LlamacppModel, request: GenerateRequest, is_given_up: Callable[[], bool]
) -> Prompt:
    """Blocks. Raises InvalidRequest."""

    def tokens_of(text: str, field: str, *, adds_special: bool = False) -> list[int]:
        return model.tokenize(
            encodable(text, field),
            adds_special=adds_special,
            is_cut=request.is_cut,
            is_given_up=is_given_up,
        )

    if request.prompt is None:
        return _chat(model, model.tools.with_parser(request), partial(tokens_of, field="messages"))
    if isinstance(request.prompt, str):
        return Prompt(token_ids=tokens_of(request.prompt, "prompt", adds_special=True))
    return Prompt(token_ids=model.checked_ids(request.prompt))


def _chat(
    model: LlamacppModel, request: GenerateRequest, tokens_of: Callable[[str], list[int]]
) -> Prompt:
    messages, pictures = model.tools.messages(request), list[Picture]()
    if model.pictures is not None:
        messages = model.pictures.marked(messages, pictures)
    text = model.chat_template().prompt(
        messages, model.tools.shown(request), request.chat_template_kwargs, request.prompt_end
    )
    if model.pictures is not None and pictures:
        return model.pictures.prompt(text, pictures, request.cache_salt, tokens_of)
    return Prompt(token_ids=tokens_of(text))
