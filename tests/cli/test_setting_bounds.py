"""Every number among the settings has a least and a most, by flag and by environment."""

from typing import Any

import pytest
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from server.refusal import CannotStart
from server.settings import Settings, read_settings

NUMBERS = {
    name: field
    for name, field in Settings.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("int", "float"))
}
BEYOND = ("inf", "-inf", "nan", "1e300", "-1e300")


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Its least and its most, also where it may be None."""
    found = [*field.metadata]
    for each in getattr(field.annotation, "__args__", ()):
        found += getattr(each, "__metadata__", ())
    found += [limit for each in found for limit in getattr(each, "metadata", ())]
    least = next(e.ge if isinstance(e, Ge) else e.gt for e in found if isinstance(e, Ge | Gt))
    return least, next(e.le for e in found if isinstance(e, Le))


def test_numbers_are_found() -> None:
    assert {"port", "burst", "request_timeout_s", "sleep_memory_gb"} <= NUMBERS.keys()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_both_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    least, most = bounds(NUMBERS[name])
    for value in (*BEYOND, str(least - 1), str(most + 1)):
        monkeypatch.setenv(f"FJORD_{name.upper()}", value)
        with pytest.raises(CannotStart, match=rf"^FJORD_{name.upper()} '{value}' is wrong: "):
            read_settings()
    monkeypatch.setenv(f"FJORD_{name.upper()}", str(most))
    assert getattr(read_settings(), name) == most


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("sleep_memory_gb", float("inf"), "--sleep-memory inf is wrong: the most is 1000000.0."),
        ("engine_memory_gb", 0.0, "--engine-memory 0.0 is wrong: it must be above 0.0."),
        ("request_timeout_s", -1.0, "--request-timeout -1.0 is wrong: the least is 0.0."),
        ("port", 65536, "--port 65536 is wrong: the most is 65535."),
        (
            "cors_origin",
            ["chat.example.com"],
            "--cors-origin 'chat.example.com' is wrong: right would be like "
            "https://chat.example.com:8443, or *.",
        ),
    ],
)
def test_a_flag_is_named_as_help_names_it(flag: str, value: Any, said: str) -> None:
    with pytest.raises(CannotStart) as refused:
        read_settings(**{flag: value})
    assert str(refused.value) == said


@pytest.mark.parametrize("name", [" ", "a\tb", "a\x1b[2J", "a\udcff", "x" * 101])
def test_a_nodes_name_is_one_that_is_shown_and_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FJORD_NODE", name)
    with pytest.raises(CannotStart, match=r"^FJORD_NODE .* 1 to 100 printable"):
        read_settings()


def test_a_nodes_name_may_have_a_hundred_characters_of_any_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("x" * 100, "gpu 1/å 機", ""):
        monkeypatch.setenv("FJORD_NODE", name)
        assert read_settings().node == name
