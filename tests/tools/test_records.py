import pytest

from tools import records


def test_a_record_comes_back_with_its_format(tmp_path):
    path = tmp_path / "record.json"
    assert records.read_record(path) is None
    assert records.write_record(path, {"b": (1, 2), "a": 0.5}) == {"format": records.FORMAT, "b": [1, 2], "a": 0.5}
    assert records.read_record(path) == {"format": records.FORMAT, "b": [1, 2], "a": 0.5}


def test_numbers_that_json_does_not_have_leave_the_file_alone(tmp_path):
    path = tmp_path / "record.json"
    records.write_record(path, {"a": 1})
    with pytest.raises(ValueError):
        records.write_record(path, {"a": float("inf")})
    assert records.read_record(path) == {"format": records.FORMAT, "a": 1}


@pytest.mark.parametrize(("text", "found"), [('{"format": 99}', "99"), ("[1]", r"\[1\]"), ('{"a": 1}', "None")])
def test_another_format_is_refused(tmp_path, text, found):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"format {records.FORMAT}, got {found}"):
        records.read_record(path)
