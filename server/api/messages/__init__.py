"""Anthropic's Messages API, over the same way as chat."""
