"""What comes of the fields that rerank and score have no place for."""

from collections.abc import Mapping
from typing import Final

from server.api.fields import KEPT, LEAVE_OUT, NO_SALT, OFF, ON, Refused

_CUT = "max_tokens_per_doc or truncate"
_OF_PAIRS: Final[Mapping[str, Refused]] = {
    # vLLM
    "max_tokens_per_query": Refused("a shorter query", (0,)),
    "use_activation": Refused(LEAVE_OUT, ON),
    "activation": Refused(LEAVE_OUT, ON),
    "softmax": Refused(LEAVE_OUT),
    "add_special_tokens": Refused(LEAVE_OUT, ON),
    "padding": Refused(LEAVE_OUT, ("do_not_pad",)),
    "chat_template": Refused("instruction"),
    "chat_template_kwargs": Refused("instruction", ({},)),
    "cache_salt": Refused(NO_SALT),
    # others
    "max_chunks_per_doc": Refused(_CUT),
    "max_query_length": Refused("a shorter query"),
    "max_doc_length": Refused("max_tokens_per_doc"),
    "truncation": Refused("truncate", OFF),
    "raw_scores": Refused(LEAVE_OUT, OFF),
    "return_embeddings": Refused("/v1/embeddings", OFF),
    "stream": Refused("a whole answer", OFF),
    "keep_alive": Refused(KEPT),
}
RERANK: Final[Mapping[str, Refused]] = {
    **_OF_PAIRS,
    "texts": Refused("documents"),
    "top_k": Refused("top_n", (-1, 0)),
    "return_text": Refused("return_documents", OFF),
    "overlap_tokens": Refused(_CUT),
}
SCORE: Final[Mapping[str, Refused]] = {
    **_OF_PAIRS,
    "top_n": Refused("/v1/rerank", (0,)),
    "return_documents": Refused("/v1/rerank", OFF),
    "rank_fields": Refused("/v1/rerank", ([],)),
    "query": Refused("text_1"),
}
