"""`nnodes` of a registry's entry: what may stand beside it, and what is the server's own."""

from pathlib import Path
from typing import Any

import pytest

from engines.planning.engine_arguments import vllm_arguments
from engines.registry.registry import RegistryError
from engines.registry.several_machines import MOST_MACHINES, machine_errors, machines
from engines.registry.spec import EngineSpec
from tests.support.registries import GOOD, load

TWO: dict[str, Any] = {"nnodes": 2, "tensor_parallel_size": 8, "pipeline_parallel_size": 2}


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"nnodes": 1},
        {"nnodes": 1, "data_parallel_size": 4, "enable_lora": True},
        TWO,
        {"nnodes": 2, "tensor-parallel-size": 2},
        {"nnodes": MOST_MACHINES, "tensor_parallel_size": MOST_MACHINES},
        {**TWO, "distributed_executor_backend": "mp", "data_parallel_size": 1},
    ],
)
def test_what_may_stand(args: dict[str, Any]) -> None:
    assert list(machine_errors(args)) == []


@pytest.mark.parametrize("value", [0, -1, MOST_MACHINES + 1, 2**40, True, 2.0, "2", None, [2]])
def test_a_number_of_machines_that_is_none(value: Any) -> None:
    [(name, words)] = machine_errors({"nnodes": value, "tensor_parallel_size": 2})
    assert (name, words) == ("nnodes", "right would be a number of machines, 1 to 64")
    assert machines({"nnodes": value}) == 1


@pytest.mark.parametrize(
    ("args", "name", "words"),
    [
        ({"node_rank": 0}, "node_rank", "the server itself decides it"),
        ({**TWO, "master-addr": "10.0.0.1"}, "master_addr", "nnodes alone says"),
        ({"master_port": 1}, "master_port", "the server itself decides it"),
        ({"headless": True}, "headless", "the server itself decides it"),
        ({"nnodes": 2}, "nnodes", "1 cards .* do not divide over 2 machines"),
        ({**TWO, "nnodes": 3}, "nnodes", "16 cards .* do not divide over 3 machines"),
        ({**TWO, "data_parallel_size": 2}, "data_parallel_size", "`replicas`"),
        ({**TWO, "distributed_executor_backend": "ray"}, "distributed_executor_backend", "mp"),
        ({**TWO, "enable_lora": True}, "enable_lora", "not served on several machines"),
    ],
)
def test_a_mistake_is_told_at_its_place(
    tmp_path: Path, args: dict[str, Any], name: str, words: str
) -> None:
    text = GOOD.replace("    output: 4K\n", f"    output: 4K\n    engine: vllm\n    args: {args}\n")
    with pytest.raises(RegistryError, match=rf"'args\.{name}': .*{words}"):
        load(tmp_path, text)


def test_the_plan_counts_the_cards_of_one_machine() -> None:
    arguments = vllm_arguments(EngineSpec(kind="vllm", source="a/b", args=TWO))
    assert (arguments.world, arguments.cards_here) == (16, 8)
