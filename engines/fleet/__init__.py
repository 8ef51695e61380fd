"""Which engines run, who waits for them, and what happens when one breaks."""
