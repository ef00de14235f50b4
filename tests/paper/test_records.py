import json

from paper.records import MissingReason, Store
from paper.runs import Run

from .samples import record

RUN = Run.of({"data": "digits", "spec": "64-10"})


def test_a_record_comes_back_whole(tmp_path):
    path = Store(tmp_path).add(RUN, record())
    found = Store(tmp_path).get(RUN)
    assert found is not None and found["results"] == record()["results"] and found["spec"] == RUN.to_dict()
    assert path.name == f"{RUN.name}.json" and [child.name for child in path.parent.iterdir()] == [path.name]


def test_damaged_and_foreign_files_count_as_none(tmp_path):
    store = Store(tmp_path)
    path = store.add(RUN, record())
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert Store(tmp_path).get(RUN) is None
    other = json.loads(whole)
    other["spec"]["steps"] = 9
    path.write_text(json.dumps(other))
    assert Store(tmp_path).get(RUN) is None
    path.write_text(whole)
    assert Store(tmp_path).get(RUN) is not None


def test_reasons_are_kept_until_there_is_a_record(tmp_path):
    store = Store(tmp_path)
    other = Run.of({"data": "mnist", "spec": "784-10"})
    assert store.missing_reason(other).reason == "not run"
    store.note_missing(other, MissingReason("not run: no data", "get it"))
    store.note_missing(RUN, MissingReason("failed: OSError"))
    store.add(RUN, record())
    store.save_missing_reasons([RUN, other])
    again = Store(tmp_path)
    assert again.missing_reason(other) == MissingReason("not run: no data", "get it")
    assert again.missing_reason(RUN).reason == "not run"
    assert list(json.loads((tmp_path / "missing.json").read_text())) == [other.key]
