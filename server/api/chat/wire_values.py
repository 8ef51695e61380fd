"""The values that wire types are made of: their ranges, bounds, and what may be stored."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from server.ledger.records import WORD_BYTES

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
StopString = Annotated[str, Field(min_length=1)]
Verbosity = Literal["low", "medium", "high"]
StopList = Annotated[list[StopString], Field(max_length=16, fail_fast=True)]

MAX_ITEMS = 8192
"""Of messages, of parts, of a conversation's items. Every list ends at its first wrong element and
every object has a bound: an error an element took seconds of everybody's time."""
MAX_TOOLS = 1024
MAX_MEMBERS = 1024
MAX_SWITCHES = 64
_ID_DIGITS = 9


def _few_enough(value: Any) -> Any:
    """Before its members are looked at: pydantic makes an error of each."""
    if isinstance(value, dict) and len(value) > MAX_MEMBERS:
        raise PydanticCustomError("too_long", "too long", {"max_length": MAX_MEMBERS})
    return value


def _of_token_ids(value: Any) -> Any:
    """The same of their names: a long one would be copied into its error."""
    if isinstance(value, dict) and any(len(name) > _ID_DIGITS for name in value):
        raise PydanticCustomError("no_token_id", "no token id")
    return _few_enough(value)


def _storable(value: str) -> str:
    is_long = len(value) > WORD_BYTES // 4 and len(value.encode()) > WORD_BYTES
    if is_long or "\0" in value:  # PostgreSQL takes no zero byte
        raise PydanticCustomError("not_storable", "too long", {"most": WORD_BYTES})
    return value


def _all_storable(value: dict[str, Any]) -> dict[str, Any]:
    for name, member in value.items():
        _storable(name)
        if isinstance(member, str):
            _storable(member)
    return value


Stored = Annotated[str, AfterValidator(_storable)]
"""What is written down, or comes back, as it is."""
AnyObject = Annotated[dict[str, Any], Field(max_length=MAX_MEMBERS)]
Metadata = Annotated[dict[str, Any], Field(max_length=MAX_SWITCHES), AfterValidator(_all_storable)]
Switches = Annotated[dict[str, Any], Field(max_length=MAX_SWITCHES)]
LogitBias = Annotated[
    dict[Annotated[str, Field(pattern=rf"^[0-9]{{1,{_ID_DIGITS}}}$")], Bias],
    Field(max_length=MAX_MEMBERS),
    BeforeValidator(_of_token_ids),
]


class Wire(BaseModel):
    """No coercion ("0.7" is no number); unknown members are kept, counted, and have no effect."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
