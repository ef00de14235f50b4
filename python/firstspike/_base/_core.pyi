"""What this machine's processor can run."""

avx512_by_loops: bool
"""Whether v4 was compiled for AVX2, for tests (`nox -s avx512`)."""

def instruction_sets() -> list[str]:
    """The x86-64 levels ("v2", "v3", "v4") whose kernels the processor can run, oldest first; empty elsewhere."""
