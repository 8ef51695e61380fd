"""What engines ask of the operating system: processes, threads, folders."""
