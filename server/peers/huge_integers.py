"""Integers that msgpack has no room for: JSON has them of any size, in schemas and arguments."""

import dataclasses
from typing import Any, Final

import msgspec

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


class HugeInteger:
    def __init__(self, value: int) -> None:
        self.value = value

    def to_bytes(self) -> bytes:
        return self.value.to_bytes(self.value.bit_length() // 8 + 1, "little", signed=True)


def with_huge_integers(value: Any) -> Any:
    """The same, each of them as a HugeInteger."""
    match value:
        case bool():
            return value
        case int():
            return value if _LEAST <= value <= _MOST else HugeInteger(value)
        case dict():
            return {key: with_huge_integers(each) for key, each in value.items()}
        case list() | tuple():
            return [with_huge_integers(each) for each in value]
        case msgspec.Struct():
            return _struct(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value)
    return value


def _struct(value: msgspec.Struct) -> msgspec.Struct:
    names = value.__struct_fields__
    return msgspec.structs.replace(value, **_fields(value, names))


def _dataclass(value: Any) -> Any:
    names = tuple(each.name for each in dataclasses.fields(value) if each.init)
    return dataclasses.replace(value, **_fields(value, names))


def _fields(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: with_huge_integers(getattr(value, name)) for name in names}
