"""One connection, one exchange, one log line a request."""
