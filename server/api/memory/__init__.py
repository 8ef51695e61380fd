"""What is kept for its owner over HTTP: /v1/responses with a memory, /v1/conversations."""
