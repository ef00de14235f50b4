"""Sections that need no peer: what they time, on small sizes."""

import shutil

import pytest
import torch
from benchmarks.nets.dense import loop, scan
from benchmarks.sections import accuracy, memory, rtl


def test_the_search_takes_the_best_rate_and_the_fewest_epochs_whose_tests_reach_the_goal():
    def reached(rate, epochs, seed):
        return 90 + epochs - 100 * abs(rate - 4e-3) - (0 if seed is None else 0.5 * seed)

    assert accuracy.search(93, 10, reached) == (4e-3, 4, [94, 93.5, 93])
    assert accuracy.search(99, 10, reached) == (4e-3, 8, [98, 97.5, 97])
    assert accuracy.search(99, 200, reached) == (4e-3, 3, [93, 92.5, 92])  # as many as fit in the budget
    asked = []
    accuracy.search(93, 10, lambda *run: asked.append(run) or reached(*run))
    assert {rate for rate, epochs, _ in asked if epochs > 1} == {4e-3, 2e-3} and len({rate for rate, *_ in asked}) == 4


def test_each_storage_counts_once_and_known_ones_do_not():
    weight, x = torch.ones(10, 10, requires_grad=True), torch.ones(4, 10)

    def forward():
        hidden = (x @ weight).exp()  # exp keeps its result, 4 x 10 floats; the product keeps x and weight
        return (hidden[:2] * hidden[2:]).sum()  # two views of that result

    assert memory.kept_bytes(forward, [weight, x]) == 4 * 10 * 4
    assert memory.kept_bytes(forward, [weight]) == 2 * 4 * 10 * 4


def test_dense_neurons_as_a_loop_and_as_a_running_sum_agree():
    generator = torch.Generator().manual_seed(0)
    current, gradient = (torch.randn(6, 3, 50, generator=generator, dtype=torch.float64) for _ in range(2))
    results = []
    for neurons in (loop, scan):
        x = current.clone().requires_grad_()
        spikes = neurons(x)
        spikes.backward(gradient)
        results.append((spikes.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0]) and (results[0][0].sum(0) <= 1).all()
    torch.testing.assert_close(results[0][1], results[1][1])


def test_sides_that_were_timed_stand_in_the_first_table_before_their_search_ends():
    def timed(milliseconds):
        return {"median": milliseconds, "low": milliseconds, "high": milliseconds, "samples": [milliseconds]}

    times = {"ReLU, torch": timed(2.0), "Brevitas, 4 bits": timed(6.0), "Brevitas, 4 bits, compiled": timed(5.0)}
    run = {"data": accuracy.FRONT, "work": "mlp", "side": "ReLU, torch", "epochs": 1}
    rows = [{"work": "mlp", "times": times}]
    rows += [run | {"rate": rate, "seed": None, "accuracy": 91.0} for rate in accuracy.RATES]
    rows += [run | {"rate": accuracy.RATES[0], "seed": seed, "accuracy": 91.0} for seed in range(accuracy.SEEDS)]
    _, front = accuracy.summaries(rows)["front"]
    assert front["side"].tolist() == ["ReLU, torch", "Brevitas, 4 bits"]
    assert front["ms of a step"].str.split(" ").str[0].tolist() == ["2.00", "5.00"]
    assert front["seconds"].tolist() == [accuracy.number(accuracy.seconds_of(1, 2.0)), "not finished"]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_a_tool_that_uses_up_its_time_is_no_failure(tmp_path):
    (tmp_path / "Makefile").write_text("busy:\n\twhile true; do :; done\nfails:\n\tfalse\nidle:\n\techo idle\n")
    with pytest.raises(rtl.OutOfTime):
        rtl.make(tmp_path, "busy", seconds=1)
    with pytest.raises(RuntimeError, match="make fails"):
        rtl.make(tmp_path, "fails", seconds=1)
    assert rtl.make(tmp_path, "idle") == "idle\n"


def test_a_core_that_is_not_placed_has_a_row():
    head, counts = {"net": "net", "profile": rtl.SCARCE}, {"used": {}, "available": {}}
    for resource in rtl.RESOURCES:
        counts["used"][resource], counts["available"][resource] = 3, 4
    tried = [{"megahertz": 60.0} | counts, {"not_placed": "too long"}, {"megahertz": 70.0} | counts]
    rows = [head | {"products": "multipliers", "seed": seed} | values for seed, values in enumerate(tried)]
    core = {"multipliers": rtl._placements(rows, head, "multipliers")}
    assert rtl._resources(core)["MHz"] == "65.0 (60.0 to 70.0)" and rtl._resources(core)["seeds"] == "0, 1 (not placed), 2"
    core = {"multipliers": rows[1:2]}
    assert "not placed" in rtl._resources(core)["MHz"] and rtl._resources(core)["registers"] == rtl.ABSENT
