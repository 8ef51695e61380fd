"""Every name of vLLM's insides that the fast path uses, by where vLLM defines it.

A test reads the sources of this package and compares; another hides each name, one at a time, and
asks for the same answer; `make test-versions` looks them up in other versions' sources.
"""

from collections.abc import Mapping
from typing import TypeAlias

Owner: TypeAlias = tuple[str, str]
"""(module, class)."""

FRONT: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.engine.async_llm", "AsyncLLM"): (
        *("abort", "check_admission", "engine_core", "get_supported_tasks", "input_processor"),
        *("log_requests", "model_config", "output_processor", "renderer", "tokenizer"),
        "_run_output_handler",
    ),
    ("vllm.config.model", "ModelConfig"): ("max_model_len",),
    ("vllm.renderers.base", "BaseRenderer"): ("get_eos_token_id",),
    ("vllm.v1.engine.core_client", "AsyncMPClient"): ("add_request_async",),
    ("vllm.v1.engine.input_processor", "InputProcessor"): ("assign_request_id", "process_inputs"),
    ("vllm.v1.engine.output_processor", "OutputProcessor"): (
        *("add_request", "log_stats", "process_outputs", "request_states", "stream_interval"),
        *("tracing_enabled", "_finish_request"),
    ),
    ("vllm.v1.engine.output_processor", "RequestState"): ("detokenizer", "is_prefilling"),
    ("vllm.v1.engine.output_processor", "RequestOutputCollector"): ("get_nowait",),
    ("vllm.v1.engine.detokenizer", "FastIncrementalDetokenizer"): (
        *("get_next_output_text", "skip_special_tokens", "spaces_between_special_tokens"),
        *("stream", "token_ids", "tokenizer", "update"),
    ),
    ("vllm.v1.engine", "EngineCoreRequest"): (
        *("arrival_time", "cache_salt", "priority", "prompt_token_ids", "reasoning_ended"),
        *("request_id", "sampling_params"),
    ),
    ("vllm.v1.engine", "EngineCoreOutput"): (
        *("finish_reason", "new_token_ids", "prefill_stats", "request_id"),
    ),
    ("vllm.v1.metrics.stats", "PrefillStats"): ("num_cached_tokens",),
    ("vllm.sampling_params", "SamplingParams"): ("max_tokens",),
    ("vllm.lora.request", "LoRARequest"): ("lora_int_id",),
}
"""In the server's process. What is hidden or gone here is found by the proofs at the start."""

ENGINE_PROCESS: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.core.sched.scheduler", "Scheduler"): ("requests", "schedule", "update_from_output"),
    ("vllm.v1.core.sched.output", "SchedulerOutput"): ("total_num_scheduled_tokens",),
    ("vllm.v1.request", "Request"): ("num_output_tokens", "sampling_params"),
    ("vllm.v1.engine", "EngineCoreOutput"): (
        *("events", "finish_reason", "new_logprobs", "new_token_ids", "request_id"),
    ),
    ("vllm.v1.engine", "EngineCoreOutputs"): ("finished_requests", "outputs", "scheduler_stats"),
    ("vllm.sampling_params", "SamplingParams"): ("logprobs", "stop"),
    ("vllm.v1.structured_output", "StructuredOutputManager"): ("_create_grammar", "executor"),
}
"""In the engine's. What is gone there ends the batching, and every token goes at once."""

STATISTICS: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.core.sched.scheduler", "Scheduler"): ("log_stats", "make_stats", "_preempt_request"),
    ("vllm.v1.metrics.stats", "SchedulerStats"): ("prefix_cache_stats", "spec_decoding_stats"),
    ("vllm.v1.metrics.stats", "PrefixCacheStats"): ("preempted_requests",),
    ("vllm.v1.spec_decode.metrics", "SpecDecodingStats"): (
        *("num_accepted_tokens", "num_draft_tokens"),
    ),
}
"""There too. What is gone of these ends the scheduler's statistics, and nothing else."""

FORMS: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.structured_output", "StructuredOutputManager"): ("_create_grammar", "executor"),
}
"""There too. What is gone of these ends the guard of forms, and nothing else."""

SHARED: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.core.sched.scheduler", "Scheduler"): ("add_request", "hash_block_size"),
    ("vllm.v1.request", "Request"): (
        *("_block_hasher", "block_hashes", "cache_salt", "update_block_hashes"),
    ),
}
"""There too. What is gone of these has prompts salted whole, and ends nothing else."""

SLICES: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.core.sched.scheduler", "Scheduler"): (
        *("add_request", "block_size", "connector", "kv_cache_manager"),
        *("max_num_running_reqs", "max_num_scheduled_tokens"),
        *("need_mamba_block_aligned_split", "requests", "running", "scheduler_config"),
        "vllm_config",
    ),
    ("vllm.config.scheduler", "SchedulerConfig"): (
        *("disable_chunked_mm_input", "enable_chunked_prefill", "long_prefill_token_threshold"),
        *("max_num_seqs", "prefill_schedule_interval"),
    ),
    ("vllm.config.vllm", "VllmConfig"): (
        *("additional_config", "parallel_config", "speculative_config"),
    ),
    ("vllm.config.speculative", "SpeculativeConfig"): ("num_speculative_tokens",),
    ("vllm.config.parallel", "ParallelConfig"): ("pipeline_parallel_size",),
    ("vllm.v1.core.sched.output", "SchedulerOutput"): (
        *("num_scheduled_tokens", "scheduled_new_reqs", "scheduled_spec_decode_tokens"),
        "total_num_scheduled_tokens",
    ),
    ("vllm.v1.core.sched.output", "NewRequestData"): ("req_id",),
    ("vllm.v1.core.kv_cache_manager", "KVCacheManager"): ("block_pool",),
    ("vllm.v1.core.block_pool", "BlockPool"): ("get_num_free_blocks",),
    ("vllm.v1.request", "Request"): (
        *("arrival_time", "lora_request", "mm_features", "num_computed_tokens"),
        *("num_output_placeholders", "num_prompt_tokens", "num_tokens"),
        *("num_tokens_with_spec", "priority", "request_id"),
    ),
}
"""There too. What is gone of these has long prompts read in vLLM's steps, and ends nothing else."""

MESSAGES: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.v1.engine.core_client", "AsyncMPClient"): ("input_socket", "resources"),
    ("vllm.v1.engine.core_client", "BackgroundResources"): ("output_socket",),
}
"""In the server's. What is gone of these leaves messages to pyzmq, and ends nothing else."""

CONFIGURATION: Mapping[Owner, tuple[str, ...]] = {
    ("vllm.config.vllm", "VllmConfig"): ("scheduler_config",),
    ("vllm.config.scheduler", "SchedulerConfig"): ("get_scheduler_cls", "scheduler_cls"),
}
"""While an engine is configured."""

CLASSES = (FRONT, ENGINE_PROCESS, STATISTICS, FORMS, SHARED, SLICES, MESSAGES, CONFIGURATION)

IMPORTS: Mapping[str, tuple[str, ...]] = {
    "vllm.sampling_params": ("RequestOutputKind",),
    "vllm.v1.core.sched.async_scheduler": ("AsyncScheduler",),
    "vllm.v1.core.sched.scheduler": ("Scheduler",),
    "vllm.v1.engine": ("EngineCoreOutput", "EngineCoreOutputs", "FinishReason"),
    "vllm.v1.engine.output_processor": ("RequestOutputCollector",),
    "vllm.v1.metrics.stats": ("PrefillStats",),
}
"""Module -> what is imported from it."""

SINCE_LATER = frozenset(
    {"check_admission", "need_mamba_block_aligned_split", "prefill_schedule_interval"}
)
"""Not yet in the oldest version of the range; used where it is there."""
