"""The tables of what lowers energy: made of records, each made once, with "not run" where one is missing."""

from firstspike import models
from paper import advice


def test_it_resumes_and_tells_what_is_missing(tmp_path, monkeypatch):
    nets = (("digits-windowed", 63), ("digits-mlp", None))
    monkeypatch.setitem(advice.NETS, "smoke", nets)
    options = {"report_only": False, "keep": True, "log": lambda _: None}
    assert advice.make("smoke", tmp_path, None, **options) == 0
    monkeypatch.setattr(advice, "measure", None)  # not called again
    assert advice.make("smoke", tmp_path, None, **options) == 0
    windows, steps = (advice.table("smoke", tmp_path, *net) for net in nets)
    assert windows["change"][0] == steps["change"][0] == "none"
    assert "an input window of 15 steps" in set(windows["change"]) and "none, neuron by neuron" in set(windows["change"])
    assert windows["steps"][0] == str(models.load_pretrained("digits-windowed").latency + 63)
    assert "none, neuron by neuron" not in set(steps["change"])
    other = {**next(advice.jobs("smoke")), "sha256": "of other weights"}
    monkeypatch.setattr(advice, "jobs", lambda _: [other])
    assert advice.table("smoke", tmp_path, *nets[0])["change"].tolist() == ["not run"]
    assert advice.make("smoke", tmp_path, None, **{**options, "report_only": True}) == 1
