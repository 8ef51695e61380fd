"""/v1/batches: requests in a file, answered while nobody else asks."""
