"""Pictures of requests: as a body gives them, fetched where that is allowed, and looked at."""
