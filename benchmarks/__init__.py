"""Speed and memory of firstspike beside its peers, and beside what the machine can do at all: `python -m benchmarks.run
--help`.
"""
