"""The endpoints: wire types in, deltas to bytes out."""
