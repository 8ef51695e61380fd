"""Weights found, fetched, converted, verified; heavy work in child processes."""
