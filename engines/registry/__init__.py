"""`model_registry.yaml` and a profile, read into specs; every mistake with its place."""
