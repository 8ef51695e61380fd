"""Chat completions on the wire."""
