"""llama.cpp, as an Engine; the only package that imports xllamacpp."""
