"""llama.cpp in this process, as an Engine; the only package that imports xllamacpp."""
