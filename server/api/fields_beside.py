"""What comes of the fields that /v1/embeddings and /v1/tokenize have no place for."""

from collections.abc import Mapping
from typing import Final

from server.api.fields import KEPT, LEAVE_OUT, NO_SALT, NONE, OFF, ON, Refused

EMBEDDINGS: Final[Mapping[str, Refused]] = {
    # vLLM
    "messages": Refused("input"),
    "padding": Refused(LEAVE_OUT, ("do_not_pad",)),
    "add_special_tokens": Refused("token ids as input", ON),
    "add_generation_prompt": Refused(LEAVE_OUT, OFF),
    "continue_final_message": Refused(LEAVE_OUT, OFF),
    "chat_template": Refused("input as the model should read it"),
    "chat_template_kwargs": Refused("input as the model should read it", ({},)),
    "embed_dtype": Refused("encoding_format", ("float32",)),
    "endianness": Refused("encoding_format", ("native", "little")),
    "use_activation": Refused(LEAVE_OUT),
    "normalize": Refused(LEAVE_OUT),
    "cache_salt": Refused(NO_SALT),
    # llama.cpp
    "content": Refused("input"),
    "prompt": Refused("input"),
    "instructions": Refused("input with the model's own prefix", ("",)),
    "truncation": Refused("truncate", (False, "disabled")),
    "stream": Refused("a whole answer", OFF),
    "embd_normalize": Refused(LEAVE_OUT),
    # others
    "input_type": Refused("input with the model's own prefix"),
    "prompt_name": Refused("input with the model's own prefix"),
    "instruction": Refused("input with the model's own prefix", ("",)),
    "task": Refused("input with the model's own prefix"),
    "late_chunking": Refused("several inputs", OFF),
    "output_dimension": Refused("dimensions"),
    "output_dtype": Refused("encoding_format", ("float",)),
    "keep_alive": Refused(KEPT),
}
TOKENIZE: Final[Mapping[str, Refused]] = {
    "add_special_tokens": Refused(LEAVE_OUT),
    "documents": Refused("messages", NONE),
    "chat_template": Refused("chat_template_kwargs"),
    "return_token_strs": Refused(LEAVE_OUT, OFF),
    "with_pieces": Refused(LEAVE_OUT, OFF),
    "content": Refused("prompt"),
    "tool_choice": Refused("tools, left out where none are shown", ("auto", "required")),
    "input": Refused("messages or prompt"),
    "instructions": Refused("a system message in messages", ("",)),
    "truncate_prompt_tokens": Refused("a shorter prompt"),
    "truncate": Refused("a shorter prompt", (False, "NONE")),
    "keep_alive": Refused(KEPT),
}
