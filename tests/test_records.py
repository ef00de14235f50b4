"""Records: what a field takes, which message names it, and what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field, field_validator, model_validator

from firstspike._base.records import FieldError, Record, read_toml, toml_names


class Inner(Record):
    shift: Annotated[int, Field(ge=0)] = 0


class Some(Record):
    name: str
    count: Annotated[int, Field(ge=1)] = 1
    rate: float = 0.5
    either: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0
    maybe: float | None = None
    on: bool = False
    sizes: tuple[int, ...] = ()
    inner: Inner = Field(default_factory=Inner)
    inners: tuple[Inner, ...] = ()
    table: dict[str, float] = Field(default_factory=dict)
    lr: float = 0.0

    @field_validator("name")
    @classmethod
    def _no_spaces(cls, name: str) -> str:
        if " " in name:
            raise ValueError("must have no spaces")
        return name

    @model_validator(mode="after")
    def _below(self) -> Some:
        if self.rate > 10 * self.count:
            raise ValueError("rate: must be at most 10 count")
        return self


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", np.int64(4), 4),
        ("rate", np.float32(0.25), 0.25),
        ("rate", 2, 2.0),
        ("either", np.int64(5), 5),
        ("either", 0.5, 0.5),
        ("maybe", "none", None),
        ("name", "none", "none"),
        ("sizes", [np.int64(1), 2], (1, 2)),
        ("inner", {"shift": 2}, Inner(shift=2)),
        ("inners", [{"shift": 2}], (Inner(shift=2),)),
    ],
)
def test_values_become_those_of_the_field(field, value, expected):
    found = getattr(Some(**{"name": "a", field: value}), field)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": "8"}, ["count: ", "'8'"]),
        ({"count": True}, ["count: "]),
        ({"count": 4.0}, ["count: "]),
        ({"rate": True}, ["rate: "]),
        ({"rate": float("nan")}, ["rate: "]),
        ({"table": {"x": float("inf")}}, ["table.x: "]),
        ({"either": 1.5}, ["either: ", " or "]),
        ({"count": 0, "rate": "1"}, ["count: ", "; rate: "]),
        ({"count": True, "rate": True}, ["count: ", "; rate: "]),
        ({"sizes": [1, "2"]}, ["sizes[1]: "]),
        ({"inner": {"shift": -1}}, ["inner.shift: "]),
        ({"inner": {"shft": 1}}, ["inner.shft: ", "did you mean shift?"]),
        ({"inners": [{}, {"shift": -1}]}, ["inners[1].shift: "]),
        ({"name": "a b"}, ["name: must have no spaces"]),
        ({"rate": 11.0}, ["rate: must be at most 10 count"]),
        ({"nme": "a"}, ["nme: ", "did you mean name?"]),
    ],
)
def test_one_line_names_what_is_wrong(values, words):
    with pytest.raises(FieldError) as error:
        Some(**{"name": "a", **values})
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    with pytest.raises(FieldError) as error:
        Some.from_dict({"name": "a", **values}, "some.toml")
    assert str(error.value).startswith("some.toml: ")


def test_a_field_without_a_default_must_be_given():
    with pytest.raises(FieldError, match="name: "):
        Some()


def test_a_record_is_written_and_read_and_changed(tmp_path: Path):
    some = Some(name="a", sizes=[3, 4], inner={"shift": 2}, inners=[{"shift": 1}], table={"x": 1})
    assert Some.from_dict(some.to_dict()) == some
    (tmp_path / "one.toml").write_text(some.to_toml())
    assert toml_names(tmp_path) == ["one"]
    for name in ("one", str(tmp_path / "one.toml")):
        assert Some.from_dict(read_toml("table", name, tmp_path)) == some
    assert some.replace(count=2).count == 2
    with pytest.raises(FieldError, match="count: "):
        some.replace(count=0)


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff", b"a = " + b"[" * 5000])
def test_files_that_are_not_toml_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.toml"):
        read_toml("table", tmp_path / "bad.toml")


@pytest.mark.parametrize("name", ["two", 3, "", "/nowhere/one.toml"])
def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path, name: Any):
    (tmp_path / "one.toml").write_text("")
    with pytest.raises(ValueError, match="table: .*one"):
        read_toml("table", name, tmp_path)
