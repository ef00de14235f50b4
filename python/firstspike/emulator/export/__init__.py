"""Programs for other tools: C99 sources with test vectors, NumPy archives, memory images for FPGAs."""
