"""An engine that says what it is told, and seeded models: for tests, and shipped."""
