"""What a start of vLLM leaves in this process' environment, and what goes to other machines."""

import json
import logging.config
import os
from pathlib import Path
from typing import Any

import pytest

from engines.registry.registry import RegistryError, parse_engine_args, registry_from_sources
from engines.registry.spec import EngineSpec
from engines.registry.vllm_names import OWN_ARGUMENTS, vllm_argument_names
from engines.testing.tiny import make_llama
from engines.vllm import arguments
from engines.vllm.arguments import engine_arguments, placed, uses_ray, vllm_renderers
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


@pytest.mark.parametrize("shows_warnings", [True, False])
def test_a_warning_is_shown_once_and_an_error_always(
    shows_warnings: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with failure_log(shows_warnings=shows_warnings) as file:
        configuration = json.loads(Path(os.environ[LOG]).read_text())
    configuration["handlers"]["file"]["filename"] = str(tmp_path / file.name)
    configuration["loggers"] = {"vllm-of-a-test": configuration["loggers"]["vllm"]}
    logging.config.dictConfig(configuration)
    log = logging.getLogger("vllm-of-a-test")
    for number in range(2):
        log.warning("kernels are left out: %s", number)
        log.error("failed")
    for handler in log.handlers:
        handler.close()
    lines = capfd.readouterr().err.splitlines()
    assert sum("kernels are left out" in line for line in lines) == shows_warnings
    assert sum("failed" in line for line in lines) == 2


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


@pytest.mark.parametrize("has_bfloat16", [False, True])
@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ('{"linear_num_value_heads": 4}', "bfloat16"),
        ('{"text_config": {"layer_types": ["linear_attention"]}}', "bfloat16"),
        ('{"layer_types": ["full_attention"]}', "float32"),
        ("[]", "float32"),
        ("no json", "float32"),
    ],
)
def test_on_a_processor_linear_attention_is_in_bfloat16_whatever_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, config: str, dtype: str
) -> None:
    monkeypatch.setattr(arguments, "has_bfloat16", lambda: has_bfloat16)
    (tmp_path / "config.json").write_text(config)
    chosen = arguments.cpu_arguments(str(tmp_path))["dtype"]
    assert chosen == ("bfloat16" if has_bfloat16 else dtype)
    assert arguments.cpu_arguments("owner/name")["dtype"] in ("bfloat16", "float32")


@pytest.mark.parametrize(
    ("args", "devices"),
    [
        ({}, [2, 5]),
        ({"gpu_memory_utilization": 0.5}, [2, 5]),
        ({"device_ids": [0, 1]}, [0, 1]),
        ({"device-ids": [0, 1]}, None),
        ({"distributed_executor_backend": "ray"}, None),
    ],
)
def test_the_fleet_says_which_cards_unless_the_operator_or_ray_does(
    args: dict[str, Any], devices: list[int] | None
) -> None:
    spec = placed(EngineSpec(kind="vllm", source="x", args=args), (2, 5), 0.30006)
    assert spec.args.get("device_ids") == devices
    part = args.get("gpu_memory_utilization", 0.3 if devices == [2, 5] else None)
    assert spec.args.get("gpu_memory_utilization") == part


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("is_cpu", "known", "given"),
    [(False, True, {"device_ids": [2]}), (True, True, {}), (False, False, {})],
)
def test_cards_reach_vllm_where_it_has_cards_and_knows_the_argument(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_cpu: bool,
    known: bool,
    given: dict[str, Any],
) -> None:
    monkeypatch.setattr("engines.vllm.arguments.on_cpu", lambda: is_cpu)
    spec = placed(EngineSpec(kind="vllm", source="x"), (2,), 0.92)
    part = {"gpu_memory_utilization": 0.92}
    names = {"device_ids", *part} if known else {"max_model_len", *part}
    assert engine_arguments(spec, str(tmp_path), names) == given | part


@pytest.mark.vllm
def test_fastpath_is_an_argument_of_the_registry_and_of_the_command(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "tiny")
    assert vllm_argument_names() >= OWN_ARGUMENTS
    args = parse_engine_args(["fastpath=false"])
    spec = registry_from_sources([("m", str(folder))], args).models["m"].engine
    assert spec.args["fastpath"] is False
    with pytest.raises(RegistryError, match="fastpaht: vLLM has no such argument"):
        registry_from_sources([("m", str(folder))], {"fastpaht": False})
