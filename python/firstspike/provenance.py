"""Where a record comes from: commit, versions, machine, time."""

from ._base.provenance import commit, cores, machine, now, own_commit, processor, record, versions

__all__ = ["commit", "cores", "machine", "now", "own_commit", "processor", "record", "versions"]
