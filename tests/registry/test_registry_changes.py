"""What differs between a registry and the same one read again."""

from pathlib import Path

from engines.registry.changes import ModelChange, RegistryChange, registry_change
from tests.support.registries import load

FILE = """\
models:
  one: {source: owner/one, context: 32K, output: 4K, price: {input: "1", output: "2"}}
  two: {source: owner/two, context: 32K, output: 4K}
profiles:
  p: {}
"""


def change(folder: Path, *replaced: tuple[str, str]) -> RegistryChange:
    old, text = load(folder, FILE), FILE
    for before, after in replaced:
        assert before in text
        text = text.replace(before, after, 1)
    return registry_change(old, load(folder, text))


def test_nothing_differs_where_only_comments_and_order_do(tmp_path: Path) -> None:
    swapped = ("  two:", "  # mine\n  two:")
    assert change(tmp_path, swapped) == RegistryChange()


def test_what_differs_of_a_model_is_named(tmp_path: Path) -> None:
    found = change(
        tmp_path,
        ('input: "1"', 'input: "3"'),
        ("output: 4K,", "output: 2K, also_known_as: [uno],"),
    )
    names = ("also_known_as", "output_tokens", "price")
    assert found.models == (ModelChange("one", "changed", names),)


def test_other_weights_restart_the_engine(tmp_path: Path) -> None:
    found = change(tmp_path, ("owner/two", "owner/three"))
    assert found.models == (ModelChange("two", "restarted", ("engine",)),)


def test_added_and_removed_models_are_told_in_the_files_order(tmp_path: Path) -> None:
    found = change(tmp_path, ("  one:", "  new:"), ("models:", "regions: [bergen]\nmodels:"))
    assert found.models == (ModelChange("new", "added"), ModelChange("one", "removed"))
    assert found.keys == ("regions",)


def test_another_number_of_replicas_restarts_no_engine(tmp_path: Path) -> None:
    found = change(tmp_path, ("owner/two,", "owner/two, replicas: 3,"))
    assert found.models == (ModelChange("two", "changed", ("replicas",)),)
