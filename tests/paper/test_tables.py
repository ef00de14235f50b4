import pandas as pd
import pytest
from paper.claims import claims, scientific
from paper.figures import FIGURES, figures
from paper.measures import frame
from paper.page import page
from paper.records import MissingReason, Store
from paper.tables import TABLES, tables
from paper.tables.speed import first_to_reach

from firstspike.report import csv, markdown
from paper import published

from .samples import PROFILE, fill, profile, record


@pytest.fixture
def made(tmp_path):
    return profile(tmp_path / "profile"), Store(tmp_path / "results")


def by_name(found):
    return {table.name: table for table in found}


def test_mean_and_sd_over_seeds(made):
    profile, store = made
    fill(store, profile.conditions)
    row = frame(profile, store, "table1").iloc[0]
    assert row["accuracy"] == 90.5 and row["accuracy_sd"] == pytest.approx(0.5**0.5) and row["seeds"] == 2
    table = by_name(tables(profile, store))["table1"]
    assert table.shown["test, last epoch, %"].tolist() == ["90.50 ± 0.71", "90.50 ± 0.71"]
    assert table.shown["same net, ReLU, %"].tolist() == ["90.50 ± 0.71", "90.50 ± 0.71"]
    assert table.shown["difference"].tolist() == ["–", "-8.98"]  # digits has no published figure; MNIST 90.50 - 99.48


def test_a_missing_condition_says_why_and_a_partial_one_how_many(made):
    profile, store = made
    conditions = profile.of("table1")
    for condition in conditions:
        for run in condition.runs:
            if run.data == "mnist":
                store.note_missing(run, MissingReason("not run: no data", "put it there"))
    store.add(conditions[0].runs[0], record())
    shown = by_name(tables(profile, store))["table1"].shown
    assert shown["test, last epoch, %"].tolist() == ["90.00 (1 of 2 seeds)", "not run: no data"]
    assert shown["same net, ReLU, %"].tolist() == ["not run", "not run: no data"]
    html = page(profile, store, tables(profile, store), figures(profile, store)).html()
    assert "Not everything was run" in html and "put it there" in html and "not run: no data" in html


def test_tables_depend_on_records_alone_and_do_not_change_them(made):
    profile, store = made
    fill(store, profile.conditions)
    before = {path: path.read_bytes() for path in store.records.iterdir()}
    first, second = tables(profile, store), tables(profile, Store(store.folder))
    assert len(first) == len(TABLES)
    for one, two in zip(first, second, strict=True):
        assert csv(one.raw) == csv(two.raw) and markdown(one.shown) == markdown(two.shown)
    assert before == {path: path.read_bytes() for path in store.records.iterdir()}
    html = page(profile, store, first, figures(profile, store)).html()
    assert html == page(profile, store, second, figures(profile, store)).html()
    assert "Not everything was run" not in html


def test_without_any_record_there_is_a_report_and_no_figure(made):
    profile, store = made
    assert figures(profile, store) == []
    html = page(profile, store, tables(profile, store), []).html()
    assert "0 of" in html and "not run" in html


def test_every_figure_is_drawn(made):
    profile, store = made
    fill(store, profile.conditions)
    assert [drawn.name for drawn in figures(profile, store)] == list(FIGURES)


def test_repeated_groups_are_printed_once(made):
    profile, store = made
    shown = by_name(tables(profile, store))["table4"].shown
    groups = shown.iloc[:, 0].tolist()
    assert groups == ["added one after the other"] + [""] * 5 + ["one left out"] + [""] * 4


def test_epochs_to_an_accuracy():
    assert first_to_reach(record(), 61) == 1
    assert first_to_reach(record(), 62) == 2
    assert first_to_reach(record(), 99) is None


def test_speed_needs_every_seed(made):
    profile, store = made
    condition = profile.of("figure1")[0]
    store.add(condition.runs[0], record(0))
    slow = record(1)
    slow["results"]["curve"]["test_accuracy"] = [10.0, 20.0]
    store.add(condition.runs[1], slow)
    raw = by_name(tables(profile, store))["speed"].raw
    assert pd.isna(raw["reached"][0])
    other = profile.of("figure1")[1]
    for run in other.runs:
        store.add(run, record(run.seed))
    raw = by_name(tables(profile, store))["speed"].raw
    assert raw["reached"][1] == 1.0 and raw["reached_seconds"][1] == 1.0


def test_energy_is_counts_times_constants(made):
    profile, store = made
    fill(store, profile.conditions)
    raw = by_name(tables(profile, store))["energy"].raw
    assert raw["energy"][0] == pytest.approx((0.9 * 2000 + 4.6 * 1000) / 1000)  # nanojoules
    assert raw["update_energy"][0] == pytest.approx(0.9 * 500 / 1000)


def test_claims_compare_and_say_when_the_direction_differs(made):
    profile, store = made
    assert set(claims(profile, store).raw["here"]) == {"not run"}
    fill(store, profile.conditions)
    twd = next(condition for condition in profile.of("decoder") if condition.value == "twd-exp")
    for run in twd.runs:
        store.add(run, record(run.seed, decision={"mean": 1.5, "median": 1.0, "p95": 3.0}))
    shown = claims(profile, store).shown
    assert shown["here"][1] == "digits, small: 1.50 against 2.50" and shown["same direction"][1] == "yes"
    assert shown["same direction"][0] == "**no**"  # all rows of the ablation have the same made-up accuracy
    assert scientific(4.4e-2) == "4·10⁻²" and scientific(1e-7) == "10⁻⁷"


def test_a_claim_that_holds_on_one_setup_only_holds_in_part(tmp_path):
    text = PROFILE.replace('[decoder]\nsetups = ["small"]', '[decoder]\nsetups = ["small", "cnn"]')
    made, store = profile(tmp_path / "profile", text), Store(tmp_path / "results")
    fill(store, made.of("decoder"))
    twd = next(
        condition for condition in made.of("decoder") if condition.value == "twd-exp" and condition.setup == "cnn"
    )
    for run in twd.runs:
        store.add(run, record(run.seed, decision={"mean": 1.5, "median": 1.0, "p95": 3.0}))
    assert claims(made, store).shown["same direction"][1] == "in part"


def test_published_figures_have_known_tags_and_unchecked_ones_stay_out():
    names = set(published.table()["name"])
    for entry in published.source()["method"]:
        assert (entry["name"] in names) is (entry["tag"] != "m")
    assert published.withheld() > 0
    figure = published.of("mnist")
    assert figure is not None and (figure.value, str(figure)) == (99.48, "99.48 [s]")
    assert published.of("digits") is None
    assert published.Figure("93.1-93.3", "s").value == 93.3
