"""Tokens in, tokens out: models and devices; knows no HTTP, no key and no price."""
