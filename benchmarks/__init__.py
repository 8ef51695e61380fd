"""Measures Fjord against vLLM's own server and LLM.generate, in one run on one machine."""
