"""The table of claims: what is run of it, and what its rows must have."""

import pytest

from tools import claims

ROW = "| A sentence. | `{}` | {} | none | equal |"


def page(*rows: tuple[str, float]) -> str:
    return "\n".join(["# Claims", "| claim | command | minutes | record | accepted range |", "| :--- | :--- | ---: |"] + [
        ROW.format(*row) for row in rows
    ])  # fmt: skip


def test_commands_of_less_than_ten_minutes_are_run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(claims, "PAGE", tmp_path / "claims.md")
    claims.PAGE.write_text(page(("echo short", 1), ("echo long", 10)))
    assert claims.main() == 0
    assert "short" in (text := capfd.readouterr().out) and "long" not in text
    claims.PAGE.write_text(page(("exit 3", 1), ("true", 1)))
    assert claims.main() == 1


def test_the_page_has_rows_that_can_be_read():
    read = claims.claims((claims.ROOT / "docs" / "claims.md").read_text(encoding="utf-8"))
    assert {claim.command.split()[-1] for claim in read} >= set(claims.CHECKS)
    with pytest.raises(ValueError, match="a row must be"):
        claims.claims("| A sentence. | no command | 1 | none | equal |")


def test_a_value_outside_its_range_ends_with_a_message():
    claims.within("accuracy", 0.97, 0.96, 0.98)
    with pytest.raises(SystemExit, match="outside: accuracy: 0.99"):
        claims.within("accuracy", 0.99, 0.96, 0.98)
