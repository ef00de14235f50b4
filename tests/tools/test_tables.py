import pandas as pd
import pytest
from tools.tables import Column, csv, latex, markdown, present

from firstspike.report import numeric

RAW = pd.DataFrame({"net": ["a|b", "c_d"], "acc": [98.123456, None], "sd": [0.1, None]})


def shown():
    def spread(row):
        return "not run: no data" if pd.isna(row["acc"]) else f"{row['acc']:.2f} ± {row['sd']:.2f}"

    return present(RAW, [Column("net", "net"), Column("acc", "test, %", spread), Column("sd", "sd", "{:.1f}")])


def test_present_prints_values_rows_and_gaps():
    assert shown().values.tolist() == [["a|b", "98.12 ± 0.10", "0.1"], ["c_d", "not run: no data", "–"]]


def test_csv_keeps_full_numbers():
    assert csv(RAW) == "net,acc,sd\na|b,98.123456,0.1\nc_d,,\n"


def test_markdown():
    assert markdown(shown()) == (
        "| net | test, % | sd |\n| :--- | ---: | ---: |\n| a\\|b | 98.12 ± 0.10 | 0.1 |\n| c_d | not run: no data | – |\n"
    )


def test_latex():
    text = latex(shown(), caption="Accuracy, %", label="tab:x")
    assert r"\begin{tabular}{lrr}" in text
    assert r"net & test, \% & sd \\" in text
    assert r"a|b & 98.12 $\pm$ 0.10 & 0.1 \\" in text
    assert r"c\_d & not run: no data & -- \\" in text
    assert r"\caption{Accuracy, \%}" in text and r"\label{tab:x}" in text


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["−3.5", "+2"], True),
        (["97.1 ± 0.2", "not run: no data"], True),
        (["1e-3"], True),
        (["unknown"], False),
        (["0.75 G"], True),
        (["1958 (loihi-davies2018)", "none"], True),
        (["-1.68 (-1.86 to -1.51)", ""], True),
        (["3 to many"], False),
        (["12 (of 3"], False),
        (["93.1-93.3", "90"], True),
        (["", ""], False),
        (["not run: no data"], False),
        (["784-400-10"], False),
    ],
)
def test_numeric(cells, expected):
    assert numeric(cells) is expected
