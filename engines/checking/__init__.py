"""What a model is able to do, read from its files before it is served: no engine starts."""
