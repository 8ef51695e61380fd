"""/v1/files: what a client leaves here for its batches, and what they leave for it."""
