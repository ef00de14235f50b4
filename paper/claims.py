"""The paper's claims, each beside what the records say to it."""

from collections.abc import Callable

import pandas as pd

from firstspike.report import Column
from firstspike.report.tables import MISSING, absent

from . import published
from .grid import Profile
from .measures import frame, records
from .records import Store
from .tables.table import Table

#: What was measured, and whether the direction is the claim's in each case that was looked at.
Answer = tuple[str, list[bool]] | None


def claims(profile: Profile, store: Store) -> Table:
    """One row a claim: what was published, what was measured here, and whether the direction is the same."""
    rows = []
    for claim, told, ask in _CLAIMS:
        answer = ask(profile, store)
        here, same = answer or ("not run", [])
        word = MISSING if not same else "yes" if all(same) else "in part" if any(same) else "**no**"
        rows.append({"claim": claim, "published": told(), "here": here, "same": word})
    columns = (
        Column("claim", "claim"),
        Column("published", "published"),
        Column("here", "here"),
        Column("same", "same direction"),
    )
    return Table("claims", "The paper's claims beside these records.", pd.DataFrame(rows), columns)


def _ablation(profile: Profile, store: Store) -> Answer:
    found = _experiment(profile, store, "table4")
    if found is None:
        return None
    none, whole = (
        found[found["label"] == label]["accuracy"].mean() for label in ("none of the five", "+ TWD (all five)")
    )
    if absent(none) or absent(whole):
        return None
    return f"{none:.2f} to {whole:.2f} % ({found.iloc[0]['title']})", [bool(whole > none)]


def _steps(profile: Profile, store: Store) -> Answer:
    found = _experiment(profile, store, "decoder")
    if found is None:
        return None
    texts, same = [], []
    for title, rows in found.groupby("title", sort=False):
        steps = rows.set_index("value")["decision_mean"]
        if not absent(steps.get("twd-exp")) and not absent(steps.get("first-spike")):
            texts.append(f"{title}: {steps['twd-exp']:.2f} against {steps['first-spike']:.2f}")
            same.append(bool(steps["twd-exp"] < steps["first-spike"]))
    return ("; ".join(texts), same) if texts else None


def _pooling(profile: Profile, store: Store) -> Answer:
    found = _experiment(profile, store, "pooling")
    if found is None:
        return None
    repeated = found.groupby("value")["repeated"].mean()
    if absent(repeated.get("max")):
        return None
    return f"max pooling: {repeated['max']:.1f} % of the pooled units fire twice or more", [bool(repeated["max"] > 0)]


def _last_hidden(name: str, stage: str = "init") -> Callable[[Profile, Store], dict[tuple[str, str], float]]:
    """The quantity in the last layer that fires, by (label, group), mean over seeds."""

    def ask(profile: Profile, store: Store) -> dict[tuple[str, str], float]:
        values = {}
        for condition in profile.of("figure1"):
            found = [record["results"]["diagnosis"][stage] for record in records(condition, store)]
            firing = [[row for row in layers if row["firing"] is not None] for layers in found]
            if firing:
                values[condition.label, condition.group] = sum(layers[-1][name] for layers in firing) / len(firing)
        return values

    return ask


def _spread(profile: Profile, store: Store) -> Answer:
    values = _last_hidden("current_sd")(profile, store)
    try:
        he, ettfs = values["Kaiming (He)", "without normalisation"], values["ETTFS-init", "without normalisation"]
    except KeyError:
        return None
    return (
        f"sd of the current in the last firing layer: Kaiming {he:.2f}, ETTFS-init {ettfs:.2f} of the threshold",
        [ettfs > he],
    )


def _gradient(profile: Profile, store: Store) -> Answer:
    firsts = {}
    for condition in profile.of("figure1"):
        found = [record["results"]["diagnosis"]["init"][0]["gradient"] for record in records(condition, store)]
        if found:
            firsts[condition.label, condition.group] = sum(found) / len(found)
    try:
        he, ettfs = firsts["Kaiming (He)", "without normalisation"], firsts["ETTFS-init", "with normalisation"]
    except KeyError:
        return None
    return f"first layer, rms at initialisation: {scientific(he)} and {scientific(ettfs)}", [ettfs > he]


def _experiment(profile: Profile, store: Store, name: str) -> pd.DataFrame | None:
    return frame(profile, store, name) if profile.of(name) else None


def scientific(value: float) -> str:
    """A number with one digit, such as 4·10⁻²."""
    digits, _, exponent = f"{value:.0e}".partition("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


def _told_ablation() -> str:
    told = published.source()["table4"]
    return f"{told['none']:.2f} to {told['all']:.2f} % (Fashion-MNIST) [{told['tag']}]"


def _told_gradient() -> str:
    he, ettfs = published.source()["claim"]
    return f"about {scientific(he['value'])} and {scientific(ettfs['value'])} [{he['tag']}]"


_CLAIMS: tuple[tuple[str, Callable[[], str], Callable[[Profile, Store], Answer]], ...] = (
    ("The five components together raise accuracy (Table 4).", _told_ablation, _ablation),
    (
        "TWD decides in fewer steps than a first-spike decoder (Fig. 1d).",
        lambda: "fewer, on four data sets [s]",
        _steps,
    ),
    ("Max pooling breaks the single spike.", lambda: "yes [s]", _pooling),
    ("ETTFS-init keeps the current's spread where Kaiming loses it (Fig. 1a-c).", lambda: "yes [s]", _spread),
    ("Gradients: Kaiming, and ETTFS-init with normalisation.", _told_gradient, _gradient),
)
