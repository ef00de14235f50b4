import pytest
from paper.claims import ONE_SEED, claims, scientific, summary
from paper.figures import figures
from paper.measures import frame
from paper.page import page
from paper.records import MissingReason, Store
from paper.tables import TABLES, tables
from tools.tables import csv, latex, markdown

from paper import grid, published
from tools import ROOT

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
    assert table.shown["test, last epoch, %"].tolist() == ["90.50 ± 0.71"] * 4
    assert table.shown["ReLU counterpart, %"].tolist() == ["90.50 ± 0.71"] * 4
    # digits has no published figure; MNIST 90.50 - 99.48 with TWD, 90.50 - 99.51 with the membrane
    assert table.shown["difference"].tolist() == ["–", "-8.98", "–", "-9.01"]
    assert table.shown["seconds per run"].tolist() == ["3 ± 0"] * 4
    assert table.shown["commit"].tolist() == table.shown["ReLU, commit"].tolist() == ["abc"] * 4
    decoders = table.shown["decoder"].tolist()
    assert "TWD" in decoders[0] and "membrane" in decoders[2] and decoders[1] == decoders[3] == ""


def test_a_missing_condition_says_why_and_a_partial_one_how_many(made):
    profile, store = made
    conditions = profile.of("table1")
    for condition in conditions:
        for run in condition.runs:
            if run.data == "mnist":
                store.note_missing(run, MissingReason("not run: no data", "put it there"))
    store.add(conditions[0].runs[0], record())
    shown = by_name(tables(profile, store))["table1"].shown
    cells = ["90.00 (1 of 2 seeds)", "not run: no data", "not run", "not run: no data"]
    assert shown["test, last epoch, %"].tolist() == cells
    assert shown["ReLU counterpart, %"].tolist() == ["not run", "not run: no data"] * 2
    additions = by_name(tables(profile, store))["energy"].shown["additions, 10³"].tolist()
    assert "2.0 (1 of 2 seeds)" in additions and "not run: no data" in additions
    html = page(profile, store, tables(profile, store), figures(profile, store)).html()
    assert "Not everything was run" in html and "put it there" in html and "not run: no data" in html


def test_tables_depend_on_records_alone_and_do_not_change_them(made):
    profile, store = made
    fill(store, profile.conditions)
    before = {path: path.read_bytes() for path in store.records.iterdir()}
    first, second = tables(profile, store), tables(profile, Store(store.folder))
    assert len(first) == len(TABLES) - 1  # this profile has no trials of learning rates
    for one, two in zip(first, second, strict=True):
        assert csv(one.raw) == csv(two.raw) and markdown(one.shown) == markdown(two.shown)
    assert before == {path: path.read_bytes() for path in store.records.iterdir()}
    html = page(profile, store, first, figures(profile, store)).html()
    assert html == page(profile, store, second, figures(profile, store)).html()
    assert "Not everything was run" not in html


def answers(profile, store):
    """(claim, setup, here, answer) of each row; a claim is printed once."""
    shown = claims(profile, store).shown
    shown["claim"] = shown["claim"].replace("", None).ffill()
    return list(shown[["claim", "data set, net", "here", "does it hold here?"]].itertuples(index=False, name=None))


def fill_decoders(store, conditions, steps):
    """Records of the decoders: `steps` by readout, then seed by seed."""
    for condition in conditions:
        for run in condition.runs:
            mean = steps.get(condition.value, (2.5, 2.5, 2.5))[run.seed]
            store.add(run, record(run.seed, decision={"mean": mean, "median": 1.0, "p95": 3.0}))


@pytest.mark.parametrize(
    ("twd", "answer"), [((1.5, 1.6, 1.4), "yes"), ((3.5, 3.6, 3.4), "**no**"), ((1.0, 3.9, 2.4), "not resolved")]
)
def test_a_claim_is_answered_by_the_interval_of_paired_differences(tmp_path, twd, answer):
    text = PROFILE.replace("seeds = [0, 1]", "seeds = [0, 1, 2]")
    made, store = profile(tmp_path / "profile", text), Store(tmp_path / "results")
    fill_decoders(store, made.of("decoder"), {"twd-exp": twd})
    (found,) = [row for row in answers(made, store) if row[0].startswith("TWD: the first output")]
    assert found[1] == "digits, small" and found[3] == answer
    assert found[2].startswith(f"{sum(twd) / 3:.2f} steps against 2.50")
    group = {"yes": "Holds here", "**no**": "Does not hold here", "not resolved": "Not resolved"}[answer]
    assert f"**{group}:** TWD: the first output" in summary(made, store)


def test_answers_of_the_full_protocol_stand_beside_and_one_seed_resolves_nothing(tmp_path):
    one, store = profile(tmp_path / "one", PROFILE.replace("seeds = [0, 1]", "seeds = [0]")), Store(tmp_path / "quick")
    text = PROFILE.replace("seeds = [0, 1]", "seeds = [0]").replace("epochs = 2\n", "epochs = 2\nseeds = [0, 1, 2]\n")
    many, full = profile(tmp_path / "many", text), Store(tmp_path / "full")
    assert [run.seed for run in many.of("decoder")[0].runs] == [0, 1, 2] and len(many.of("table4")[0].runs) == 1
    for made, kept in ((one, store), (many, full)):
        fill_decoders(kept, made.of("decoder"), {"twd-exp": (1.5, 1.6, 1.4)})
    shown = claims(one, store, (many, full)).raw
    first, second = shown[shown["setup"] == "digits, small"].to_dict("records")
    assert first["answer"] == ONE_SEED and second["answer"] == "yes" and second["claim"] == ""
    assert first["commits"] == second["commits"] != ""
    assert "Holds here:** TWD" in summary(one, store, (many, full)).partition("\n\n")[0]


def test_a_published_accuracy_is_compared_with_an_interval(tmp_path):
    made, store = profile(tmp_path / "profile"), Store(tmp_path / "results")
    fill(store, made.of("table1"))
    found = {row[0]: row for row in answers(made, store)}
    mnist = found["MNIST: at least the published accuracy, with TWD."]
    assert mnist[1] == "MNIST, CNN" and mnist[2].startswith("90.50 (84.15 to 96.85) %") and mnist[3] == "**no**"
    assert found["Fashion-MNIST: at least the published accuracy, with TWD."][2] == "not run"
    assert scientific(4.4e-2) == "4·10⁻²" and scientific(1e-7) == "10⁻⁷"


def test_published_figures_have_known_tags_and_unchecked_ones_stay_out():
    names = set(published.table()["name"])
    for entry in published.source()["method"]:
        assert (entry["name"] in names) is (entry["tag"] != "m")
    assert published.withheld() > 0
    figure = published.of("mnist")
    assert figure is not None and (figure.value, str(figure)) == (99.48, "99.48 [s]")
    assert published.of("digits") is None
    assert published.Figure("93.1-93.3", "s").value == 93.3


@pytest.mark.usefixtures("committed_records")
@pytest.mark.parametrize("name", ["quick", "paper"])
def test_the_committed_tables_are_made_of_the_committed_records(name):
    store = Store(ROOT / "paper" / "results" / name, kept=True)
    for table in tables(grid.choose_learning_rates(grid.load(name), store), store):
        stem = store.folder / "tables" / table.name
        told = f"run python paper/reproduce.py --profile {name} --report-only"
        assert stem.with_suffix(".md").read_text() == markdown(table.shown), told
        assert stem.with_suffix(".csv").read_text() == csv(table.raw), told
        assert stem.with_suffix(".tex").read_text() == latex(table.shown, table.caption, f"tab:{table.name}"), told
