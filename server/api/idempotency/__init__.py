"""Idempotency-Key: a request that comes again gets the first one's answer, and is billed once."""
