"""The report: one page from a profile, its records, tables and figures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from firstspike.report import Page

from .claims import claims, summary
from .figures.named_figure import NamedFigure
from .grid import Profile, runs
from .records import Store
from .tables import Table

#: Sections: heading, text, and the names of the tables and figures in it.
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Accuracy",
        "Each net beside what was published for its data set, and beside its ReLU counterpart, trained on the same data "
        "with the same batches; width, dropout and number of epochs were tried on the TTFS nets alone, learning rates on both "
        "(LABBOOK.md). The authors' code is at github.com/CheKaiWei/ETTFS (PMLR "
        "306:13316-13328, ICML 2026) and, of their later paper, at github.com/CheKaiWei/PTTFS; neither could be read here, "
        "so net, T, encoder, optimiser and number of epochs are our choices. What is used is in the table, and every "
        "setting in the records. Compare these with the authors' code first: the net and its population of output "
        "neurons, the encoder of the input, T, γ of the temporal weighting, the surrogate, and the granularity of the "
        "affine. To our knowledge this is the first public reproduction that was trained on the real data.",
        ("table1", "accuracy", "published"),
    ),
    (
        "Ablation",
        "What each component is worth. Only the first and the last row of the paper's Table 4 are known to us.",
        ("table4", "learning_rates"),
    ),
    (
        "Signal at initialisation and after training",
        "A layer's current is X[t] = γ (W s[t]) + β. With N inputs that fire once, uniformly over T steps, its "
        "variance is N Var(W) / T: ETTFS-init sets Var(W) = T / N to make it 1; Kaiming initialisation gives 2 / T "
        "and torch's default 1 / (3 T). Two cases lie outside this derivation, and have a gain of their own here: a "
        "layer behind k x k average pooling (k) and a directly coded first layer (1 / √T).",
        ("currents", "signal"),
    ),
    (
        "Training speed and stability",
        "The same nets while they learn. Weight normalisation makes a net's output independent of the scale of the "
        "weights that are drawn, but not its learning: the larger they are, the smaller is a step of Adam beside "
        "them.",
        ("speed", "curves"),
    ),
    (
        "Pooling",
        "A window with several spikes at different times sends several spikes through max pooling. Average pooling "
        "is linear, so it can be folded into the next layer, which still gets single spikes.",
        ("pooling",),
    ),
    (
        "Decoders and the first output spike",
        "The exact rule of the TQ-TTFS decoder is not known to us; the first-spike decoder is used in its place.",
        ("decoder", "decisions", "gamma"),
    ),
    ("Number of steps", "", ("steps",)),
    ("Accuracy against T", "Ways to use time (docs/windowed.md), each with as many epochs.", ("time",)),
    ("Nets of windows at their best", "", ("windows",)),
    ("Yin-Yang", "", ("yin-yang",)),
    ("Encoders", "", ("encoder",)),
    ("Energy", "", ("energy",)),
    ("The cost of an answer", "Nets that are trained for few spikes (docs/cost.md).", ("cost", "cost_layers")),
)


def page(
    profile: Profile,
    store: Store,
    tables: Iterable[Table],
    figures: Iterable[NamedFigure],
    full: tuple[Profile, Store] | None = None,
) -> Page:
    """The report on whatever there is; full: the full protocol and its records, whose answers stand beside (`claims`)."""
    parts: dict[str, list[Table | NamedFigure]] = {}
    everything: list[Table | NamedFigure] = [*tables, *figures]
    for part in everything:
        parts.setdefault(part.name, []).append(part)
    found = [record for run in runs(profile.conditions) if (record := store.get(run)) is not None]
    made = Page(
        "Training time-to-first-spike networks from scratch: a reproduction",
        f"arXiv 2410.23619, with firstspike. Profile `{profile.name}`: {profile.description}",
    )
    made.text(summary(profile, store, full))
    _absences(made, profile, store)
    made.section("Claims").text("What the paper says, and what these records say.")
    _table(made, claims(profile, store, full))
    for heading, text, names in SECTIONS:
        there = [part for name in names for part in parts.get(name, [])]
        if not there:
            continue
        made.section(heading).text(text)
        for part in there:
            if isinstance(part, Table):
                _table(made, part)
            else:
                made.figure(part.svg, part.caption)
    _test_data(made, profile)
    _provenance(made, profile, found)
    return made


def _table(made: Page, table: Table) -> None:
    made.table(table.shown, table.caption, table.note, table.rules)


def _absences(made: Page, profile: Profile, store: Store) -> None:
    """A notice that says which runs are not there, why, and how to get them."""
    reasons: Counter[tuple[str, str, str]] = Counter()
    for run in runs(profile.conditions):
        if store.get(run) is None:
            missing_reason = store.missing_reason(run)
            reasons[run.source, missing_reason.reason, missing_reason.how] += 1
    if not reasons:
        return
    lines = [
        f"- **{dataset}**, {count} run{'s' if count > 1 else ''}: {reason}. {' '.join(how.split())}"
        for (dataset, reason, how), count in reasons.items()
    ]
    made.notice("**Not everything was run.** Cells without a run say so.\n\n" + "\n".join(lines))


def _test_data(made: Page, profile: Profile) -> None:
    held = sorted({run.validation for run in runs(profile.conditions)})
    if held == [0]:
        used = "Nothing is held out in this profile: all settings are fixed beforehand in the profile's file."
    else:
        used = f"Images of train held out for validation, by run: {', '.join(map(str, held))}."
    made.section("How test data were used").text(
        "Test images choose no setting of a run, but three decisions followed looks at test accuracy (`paper/LABBOOK.md`): "
        "that each row of the ablation has a learning rate of its own (the rates themselves were chosen on images held out), "
        "the batches of 32 images of the quick ablation, and which setups for the JPEG copy of CIFAR-10 were tried after "
        "each other. Where images of train are held out, every epoch is measured on those and the test images once, at the "
        "end; elsewhere test accuracy is computed after every epoch, for the curves. The figure that counts is the **last "
        "epoch's**, whatever the others were. The best epoch is printed beside it to show how much choosing by test would "
        "have flattered. Settings are chosen on a validation split of train (the trials are in `paper/LABBOOK.md`), "
        f"drawn with a fixed seed and equal class shares. {used} Where several seeds were run, ± is the sample "
        "standard deviation over seeds, of initialisation and data order alike. There is no bootstrap interval: "
        "to draw again from so few seeds tells no more than their standard deviation."
    )


def _provenance(made: Page, profile: Profile, found: list[dict[str, Any]]) -> None:
    made.section("Provenance").text(
        "One JSON record per run lies beside this page, in `records`; tables, figures and this page are made from the "
        "records alone."
    )
    total = sum(record["timing"]["seconds"] for record in found)
    facts = {
        "runs": f"{len(found)} of {len(runs(profile.conditions))}, {_duration(total)} of computing in all",
        **origins([record["provenance"] for record in found]),
        "kernels": _several(record["provenance"]["backend"] for record in found),
        "peak memory": f"{max((record['timing']['peak_mb'] for record in found), default=0):,.0f} MB at most in one run",
        "again": f"`python paper/reproduce.py --profile {profile.name}`",
    }
    made.facts(facts)
    if len({record["provenance"]["commit"] for record in found}) > 1:
        made.notice("The records come from more than one commit.")


def origins(provenance: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Commit, versions and machine of records, each with the number of records where there are several."""
    return {
        "commit": _several(each["commit"] or "not in git" for each in provenance),
        "versions": _several(", ".join(map(" ".join, each["versions"].items())) for each in provenance),
        "machine": _several("{cpu}, {cores} cores, {system}".format(**each["machine"]) for each in provenance),
    }


def _several(values: Iterable[str]) -> str:
    counts = Counter(values)
    if len(counts) < 2:
        return next(iter(counts), "–")
    return "; ".join(f"{value} ({count})" for value, count in counts.most_common())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
