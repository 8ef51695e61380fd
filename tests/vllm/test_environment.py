"""What a start of vLLM leaves in this process' environment, and what goes to other machines."""

import json
import os
from pathlib import Path

import pytest

from engines.registry.registry import RegistryError, parse_engine_args, registry_from_sources
from engines.registry.spec import EngineSpec
from engines.registry.vllm_names import OWN_ARGUMENTS, vllm_argument_names
from engines.testing.tiny import make_llama
from engines.vllm.arguments import engine_arguments, uses_ray, vllm_renderers
from engines.vllm.environment import variable_set, without_hub
from engines.vllm.start_failure import failure_log

HUB, LOG = "HF_HUB_OFFLINE", "VLLM_LOGGING_CONFIG_PATH"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (HUB, LOG):
        monkeypatch.delenv(name, raising=False)


def test_the_hub_is_closed_to_a_folder_for_its_start_alone(tmp_path: Path) -> None:
    with without_hub(str(tmp_path)):
        assert os.environ[HUB] == "1"
    assert HUB not in os.environ
    with without_hub("owner/name"):
        assert HUB not in os.environ


def test_a_start_that_fails_leaves_nothing_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such model"), without_hub(str(tmp_path)):
        raise ValueError("no such model")
    assert HUB not in os.environ


def test_what_the_operator_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HUB, "0")
    with without_hub(str(tmp_path)), variable_set(HUB, "7"):
        assert os.environ[HUB] == "0"
    assert os.environ[HUB] == "0"


def test_workers_on_other_machines_are_given_no_file_of_this_one() -> None:
    with failure_log(is_local=False):
        assert LOG not in os.environ
    with failure_log() as file:
        configuration = json.loads(Path(os.environ[LOG]).read_text())
        assert configuration["handlers"]["file"]["filename"] == str(file)
    assert LOG not in os.environ


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"distributed_executor_backend": "ray"}, True),
        ({"data-parallel-backend": "ray"}, True),
        ({"distributed_executor_backend": "mp", "data_parallel_backend": "mp"}, False),
        ({}, False),
    ],
)
def test_either_backend_may_be_ray(args: dict[str, str], expected: bool) -> None:
    assert uses_ray(EngineSpec(kind="vllm", source="x", args=args)) is expected


def test_a_pooling_model_gets_one_renderer() -> None:
    """vLLM refuses several for one that reads images."""
    assert vllm_renderers(EngineSpec(kind="vllm", source="x", task="embed")) == 1


@pytest.mark.vllm
def test_arguments_of_ours_never_reach_vllm(tmp_path: Path) -> None:
    spec = EngineSpec(kind="vllm", source="x", args={"fastpath": False, "max_model_len": 9})
    arguments = engine_arguments(spec, str(tmp_path), {"max_model_len"})
    assert arguments == {"max_model_len": 9}


@pytest.mark.vllm
def test_fastpath_is_an_argument_of_the_registry_and_of_the_command(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "tiny")
    assert vllm_argument_names() >= OWN_ARGUMENTS
    args = parse_engine_args(["fastpath=false"])
    spec = registry_from_sources([("m", str(folder))], args).models["m"].engine
    assert spec.args["fastpath"] is False
    with pytest.raises(RegistryError, match="fastpaht: vLLM has no such argument"):
        registry_from_sources([("m", str(folder))], {"fastpaht": False})
