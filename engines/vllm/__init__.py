"""vLLM's AsyncLLM as an Engine; the only package that imports vllm."""
