import shutil
import sys

import pytest
from benchmarks.records import SectionRecord, load

from benchmarks import probe

linux = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("c++"), reason="the probes need Linux and c++")


@linux
def test_peaks_are_given_for_each_level():
    peaks = probe.limits(1, {"L1": 32768})
    assert peaks["threads"] == 1 and peaks["add"] > 1e9
    assert peaks["L1"]["bytes"] == 16384 and peaks["L1"]["read"] > peaks["memory"]["read"] > 1e8


@linux
def test_a_record_says_how_near_the_processors_were(tmp_path):
    neighbours = probe.Neighbours()
    record = SectionRecord(tmp_path, "steps", resume=False, neighbours=neighbours)
    neighbours.bring()
    neighbours.bring()
    record.add("two rounds")
    record.add("none")
    first, second = (row["origin"]["neighbours"] for row in load(tmp_path / "steps.json"))
    assert len(first) == 2 and all(0 <= ns < 1e6 for ns in first)
    assert second == []


def test_nothing_is_known_where_there_is_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    probe._compiled.cache_clear()
    neighbours = probe.Neighbours()
    neighbours.bring()
    assert neighbours.take() == []
    with pytest.raises(RuntimeError, match="cannot compile .*probe.cpp with /nowhere/c"):
        probe.limits(1, {})
