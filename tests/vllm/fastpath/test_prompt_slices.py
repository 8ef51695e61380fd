"""Long prompts beside streams, on vLLM's own scheduler without a model."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.base import EngineUnavailable
from engines.testing.tiny import make_llama
from engines.vllm.environment import set_environment, without_hub
from engines.vllm.fastpath.prompt_slices import DEFAULT_MS, LONG_TOKENS
from engines.vllm.fastpath.token_batching_start import batch_at_source, prefill_step_ms

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
"""vLLM's libraries warn while they are imported."""
STREAMS, MOST, BLOCK = 9, 2048, 128
SLICE = 100
Make = Callable[..., "Driven"]


class Driven:
    """A scheduler that is given made-up tokens, one for each request whose prompt is read."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        if scheduler._slices is not None:
            scheduler._slices._pace = FixedPace()
        self.tokens: dict[str, int] = {}

    def add(self, name: str, prompt: int, answer: int = 400, priority: int = 0) -> None:
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        number = len(self.tokens)
        self.tokens[name] = 0
        request = Request(
            name,
            [number] * prompt,
            SamplingParams(max_tokens=answer, ignore_eos=True),
            None,
            arrival_time=float(number),
            priority=priority,
        )
        self.scheduler.add_request(request)

    def step(self) -> dict[str, int]:
        """The tokens of each request that were planned."""
        from vllm.v1.outputs import ModelRunnerOutput

        scheduled = self.scheduler.schedule()
        planned: dict[str, int] = dict(scheduled.num_scheduled_tokens)
        requests = self.scheduler.requests
        is_read = {n: requests[n].num_computed_tokens >= requests[n].num_tokens for n in planned}
        output = ModelRunnerOutput(
            req_ids=list(planned),
            req_id_to_index={name: index for index, name in enumerate(planned)},
            sampled_token_ids=[[7] if is_read[name] else [] for name in planned],
        )
        self.scheduler.update_from_output(scheduled, output)
        for name in planned:
            self.tokens[name] += is_read[name]
        return planned

    def with_streams(self) -> "Driven":
        for number in range(STREAMS):
            self.add(f"s{number}", 10)
        self.step()
        return self


class FixedPace:
    """A slice of one size."""

    tokens, waiting, due = SLICE, 0, False

    def is_due(self) -> bool:
        return self.due

    def begins(self, tokens: int, prompt_tokens: int) -> None: ...

    def ended(self) -> None: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("sliced"))


@pytest.fixture
def make(model: Path) -> Make:
    set_environment()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vllm.engine.arg_utils import AsyncEngineArgs

    def made(blocks: int = 1000, step_ms: float = DEFAULT_MS, **more: Any) -> Driven:
        arguments = {
            "model": str(model),
            "dtype": "float32",
            "max_num_batched_tokens": MOST,
            "max_num_seqs": 20,
            "block_size": BLOCK,
            "enable_prefix_caching": False,
            "scheduling_policy": "priority",
            **more,
        }
        with without_hub(str(model)):
            config = AsyncEngineArgs(**arguments).create_engine_config()
        batch_at_source(config, step_ms)
        config.cache_config.num_gpu_blocks = blocks
        return Driven(scheduler_of(config, blocks))

    return made


def scheduler_of(config: Any, blocks: int) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    heads = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=32, dtype=torch.float32)
    cache = KVCacheConfig(
        num_blocks=blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], heads)],
    )
    return config.scheduler_config.get_scheduler_cls()(
        vllm_config=config,
        kv_cache_config=cache,
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK,
        log_stats=False,
    )


def test_streams_have_a_token_of_each_step_and_a_long_prompt_a_slice(make: Make) -> None:
    driven = make().with_streams()
    driven.add("long", 5000)
    for _ in range(50):
        planned = driven.step()
        assert planned.pop("long") == SLICE
        assert planned == {f"s{number}": 1 for number in range(STREAMS)}
    assert driven.step()["long"] == 1, "it is read, and a stream now"


def test_now_and_then_a_step_without_prompts_shows_what_streams_take(make: Make) -> None:
    driven = make().with_streams()
    for name in ("running", "waiting"):
        driven.add(name, 5000)
    driven.step()
    pace = driven.scheduler._slices._pace
    assert pace.waiting == 2
    pace.due = True
    assert driven.step() == {f"s{number}": 1 for number in range(STREAMS)}
    pace.due = False
    assert driven.step()["running"] == SLICE


def test_long_prompts_are_read_one_after_another_by_priority(make: Make) -> None:
    driven = make().with_streams()
    for name, priority in (("a", 0), ("b", 0), ("c", -1)):
        driven.add(name, 1000, answer=400, priority=priority)
    read: list[str] = []
    for _ in range(30):
        reading = {name for name, tokens in driven.step().items() if tokens > 1}
        assert len(reading) == 1
        read += [name for name in reading if name not in read[-1:]]
    assert read == ["c", "a", "b"]


def test_short_prompts_do_not_wait_for_long_ones_nor_long_ones_for_them(make: Make) -> None:
    driven = make().with_streams()
    driven.add("long", 30_000)
    driven.step()
    slices = []
    for number in range(40):
        driven.add(f"short{number}", 200, answer=2)
        slices += [driven.step().get("long", 0) for _ in range(2)]
        assert driven.tokens[f"short{number}"] >= 1
    assert slices.count(SLICE) == 40
    assert slices.count(0) == 40


def test_a_long_prompt_that_comes_among_short_ones_is_read(make: Make) -> None:
    driven = make().with_streams()
    driven.add("first", 20_000)
    driven.add("second", 1000, priority=-1)
    for number in range(30):
        driven.add(f"short{number}", 50, answer=1)
        driven.step()
    assert driven.tokens["second"]
    assert not driven.tokens["first"]


def test_without_streams_a_prompt_has_the_whole_step(make: Make) -> None:
    driven = make()
    driven.add("long", 5000)
    assert [driven.step()["long"] for _ in range(3)] == [MOST, MOST, 5000 - 2 * MOST]


def test_prompts_that_are_not_long_are_planned_as_in_vllm(make: Make) -> None:
    driven = make().with_streams()
    for number in range(3):
        driven.add(f"p{number}", LONG_TOKENS)
    planned = driven.step()
    assert [planned[f"p{number}"] for number in range(3)] == [LONG_TOKENS] * 3


def test_everything_ends_where_the_cache_is_small(make: Make) -> None:
    """Streams and prompts are preempted and read anew; what a step changes is as before."""
    driven = make(blocks=60)
    scheduler = driven.scheduler
    limits = scheduler.max_num_running_reqs, scheduler.max_num_scheduled_tokens
    driven.with_streams()
    for number in range(6):
        driven.add(f"long{number}", 3000, answer=5)
        driven.add(f"short{number}", 100, answer=5)
    for _ in range(5000):
        driven.step()
        assert (scheduler.max_num_running_reqs, scheduler.max_num_scheduled_tokens) == limits
        if not scheduler.requests:
            break
    assert not scheduler.requests
    assert {n: 400 if n.startswith("s") and n[1].isdigit() else 5 for n in driven.tokens} == (
        driven.tokens
    )


def test_no_more_run_than_may(make: Make) -> None:
    driven = make().with_streams()
    for number in range(30):
        driven.add(f"long{number}", 700, answer=30)
    for _ in range(400):
        driven.step()
        assert len(driven.scheduler.running) <= 20
    assert sum(driven.tokens[f"long{number}"] for number in range(30)) == 30 * 30


def test_what_is_aborted_while_it_waits_is_forgotten(make: Make) -> None:
    from vllm.v1.request import RequestStatus

    driven = make().with_streams()
    for name in "abc":
        driven.add(name, 5000)
        driven.step()
    driven.scheduler.finish_requests(list("abc"), RequestStatus.FINISHED_ABORTED)
    for _ in range(40):
        assert set(driven.step().values()) == {1}
    slices = driven.scheduler._slices
    assert not slices._long
    assert not slices._unstarted


def test_what_is_aborted_before_it_begins_is_forgotten_too(make: Make) -> None:
    from vllm.v1.request import RequestStatus

    driven = make()
    for number in range(3000):
        driven.add(str(number), 10)
        driven.scheduler.finish_requests([str(number)], RequestStatus.FINISHED_ABORTED)
    assert len(driven.scheduler._slices._unstarted) <= 1024


def test_a_prompt_with_pictures_is_held_back_by_none(make: Make) -> None:
    """What the encoder made is kept until the prompt is read: one that waits would keep it from
    the others for ever."""
    driven = make().with_streams()
    scheduler = driven.scheduler
    for name in "ab":
        driven.add(name, 5000)
    both_begin(scheduler, driven.step)
    for pictures, waits in (([], {"b"}), (["a picture"], set())):
        scheduler.requests["a"].mm_features = pictures
        with scheduler._slices.held(scheduler):
            running = {request.request_id for request in scheduler.running}
        assert set("ab") - running == waits


def test_nobody_waits_whose_adapter_others_would_take_the_place_of(make: Make) -> None:
    """vLLM admits by the adapters of those that it plans, and dies of one too many."""
    driven = make().with_streams()
    scheduler = driven.scheduler
    for name in "ab":
        driven.add(name, 5000)
    both_begin(scheduler, driven.step)
    scheduler.requests["b"].lora_request = SimpleNamespace(lora_int_id=1)
    with scheduler._slices.held(scheduler):
        assert {"a", "b"} <= {request.request_id for request in scheduler.running}


def test_where_all_seats_are_taken_no_step_is_kept_for_short_ones(make: Make) -> None:
    driven = make().with_streams()
    for number in range(10):
        driven.add(f"more{number}", 10)
    driven.step()
    driven.add("long", 5000)
    driven.step()
    for number in range(5):
        driven.add(f"waits{number}", 10)
    assert [driven.step()["long"] for _ in range(10)] == [SLICE] * 10


def both_begin(scheduler: Any, step: Callable[[], Any]) -> None:
    """Two long prompts, a step in vLLM's way."""
    slices, scheduler._slices = scheduler._slices, None
    scheduler.scheduler_config.long_prefill_token_threshold = 300
    slices.planned(
        SimpleNamespace(
            scheduled_new_reqs=[SimpleNamespace(req_id=name) for name in "ab"],
            total_num_scheduled_tokens=0,
            num_scheduled_tokens={},
            scheduled_spec_decode_tokens={},
        )
    )
    assert {step()[name] for name in "ab"} == {300}
    scheduler.scheduler_config.long_prefill_token_threshold = 0
    scheduler._slices = slices


@pytest.mark.parametrize(
    "more",
    [
        {"step_ms": 0.0},
        {"long_prefill_token_threshold": 300},
        {"enable_chunked_prefill": False, "max_model_len": MOST},
    ],
)
def test_an_operator_who_says_otherwise_has_vllms_steps(make: Make, more: dict[str, Any]) -> None:
    assert make(**more).scheduler._slices is None


def test_a_vllm_without_what_it_needs_reads_prompts_as_it_does(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    driven = make().with_streams()
    del driven.scheduler._slices._a_stream  # as any name that is gone
    driven.add("long", 5000)
    assert driven.step()["long"] == MOST - STREAMS
    assert sum("the slices of long prompts" in message for message in caplog.messages) == 1


def test_the_argument_reaches_the_scheduler(make: Make) -> None:
    assert make(step_ms=50.0).scheduler.vllm_config.additional_config == {
        "fjord_prefill_step_ms": 50.0
    }
    assert make().scheduler.vllm_config.additional_config == {}


@pytest.mark.parametrize("limit", [-1, 60_001, True, "20", None])
def test_a_wrong_limit_is_told_before_anything_starts(limit: Any) -> None:
    with pytest.raises(EngineUnavailable, match="prefill_step_ms is"):
        prefill_step_ms({"prefill_step_ms": limit})
    assert prefill_step_ms({}) == DEFAULT_MS
    assert prefill_step_ms({"prefill_step_ms": 0}) == 0
