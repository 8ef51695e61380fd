"""What may be used is said in aliases, whichever names are asked for."""

from typing import TypeVar

from engines.registry.names import ModelNames
from server.accounts.allowance_wire import AllowancePatch

P = TypeVar("P", bound=AllowancePatch)


def by_alias(body: P, names: ModelNames) -> P:
    """The body with aliases for other names of models; what no model is called stays."""
    if not body.models:
        return body
    found = [(name, names.find(name)) for name in body.models]
    aliases = [name if spec is None else spec.alias for name, spec in found]
    return body.model_copy(update={"models": aliases})
