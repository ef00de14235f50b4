"""Measurements on a CUDA device; `benchmarks.gpu` runs them."""
