"""`python -m benchmarks …`, what `make bench` calls."""

from benchmarks.bench import main

main()
