"""What every part of the package builds on: checks, geometry, compiled kernels, files, records, provenance."""
