"""Which tokens a request may favour or ban: the same bound and the same words on every engine."""

from collections.abc import Iterable

from engines.base import InvalidRequest


def check_bias_tokens(token_ids: Iterable[int], vocabulary: int) -> None:
    """`vocabulary`: how many tokens the model has. Raises InvalidRequest for the first that it has
    not."""
    unknown = next((id for id in token_ids if not 0 <= id < vocabulary), None)
    if unknown is not None:
        raise InvalidRequest(
            f"logit_bias names token {unknown}; the model's tokens are 0 to {vocabulary - 1}.",
            "logit_bias",
            f"token ids from 0 to {vocabulary - 1}",
            unknown,
        )
