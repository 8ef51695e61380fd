"""What is done to any engine's tokens: thinking split off, tool calls held to a schema."""
