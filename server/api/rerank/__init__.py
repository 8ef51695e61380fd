"""/v1/rerank in Cohere's and Jina's forms, /v1/score in vLLM's: texts in pairs, scores out."""
