"""The engine on other versions of vLLM than the locked one, each in an environment of its own."""
