"""What came of requests that brought a key of their own, for a day: sealed, on this node's disk."""
