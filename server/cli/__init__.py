"""`fjord …`: the commands, the start, what a person sees."""
