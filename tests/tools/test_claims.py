"""The table of claims: what is run of it, and what its rows must have."""

import pytest

from tools import claims

ROW = "| A sentence. | `{}` | {} | none | equal |"


def page(*rows: tuple[str, float]) -> str:
    return "\n".join(["# Claims", "| claim | command | minutes | record | accepted range |", "| :--- | :--- | ---: |"] + [
        ROW.format(*row) for row in rows
    ])  # fmt: skip


def test_commands_of_less_than_ten_minutes_are_run(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "PAGE", tmp_path / "claims.md")
    short, long = tmp_path / "short", tmp_path / "long"
    claims.PAGE.write_text(page((f"touch {long}", 10), ("exit 3", 1), (f"touch {short}", 9.9)))
    assert claims.main() == 1  # one failed, and the next was run all the same
    assert short.exists() and not long.exists()


def test_the_page_has_rows_that_can_be_read():
    read = claims.claims((claims.ROOT / "docs" / "claims.md").read_text(encoding="utf-8"))
    assert {claim.command.split()[-1] for claim in read} >= set(claims.CHECKS)
    for row in ("| A sentence. | no command | 1 | none | equal |", ROW.format("true", "soon"), "| A sentence. | `true` | 1 |"):
        with pytest.raises(ValueError):
            claims.claims(row)


@pytest.mark.parametrize("value", [0.95, 0.99, float("nan")])
def test_a_value_outside_its_range_is_a_failure(value):
    claims.within("accuracy", 0.96, 0.96, 0.98)
    claims.within("accuracy", 0.98, 0.96, 0.98)
    with pytest.raises(SystemExit) as stopped:
        claims.within("accuracy", value, 0.96, 0.98)
    assert stopped.value.code not in (None, 0)
