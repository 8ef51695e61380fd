"""What a GPU machine is asked to prove, a phase a file; `benchmarks.gpu_check` runs them."""
