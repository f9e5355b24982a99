"""The sentence behind a table names every device, date, commit and command that made it."""

import json

from naslora_workbook.publishing.sources import recorded, runs, source


def record(**facts):
    usual = {"device": "a card", "date": "2026-01-02", "commit": "abc", "command": "bench"}
    return {"provenance": usual | facts}


def test_one_record():
    assert source(record()) == "a card, 2026-01-02, commit `abc`, `bench`."


def test_many_records_name_all_that_differs():
    said = source(record(), record(commit="abd+", date="2026-01-05", command="bench --more"))
    assert (
        said == "a card, 2026-01-02 to 2026-01-05, commit `abc`, `abd+`, `bench`, `bench --more`."
    )
    assert source(record(), commands=["all of it"]).endswith("commit `abc`, `all of it`.")


def test_what_is_not_recorded_is_empty(tmp_path):
    assert recorded(tmp_path, "none.json") == {} and runs(tmp_path, "none") == []
    folder = tmp_path / "results" / "some"
    folder.mkdir(parents=True)
    for name in ("b", "a"):
        (folder / f"{name}.json").write_text(json.dumps({"name": name}))
    assert [r["name"] for r in runs(tmp_path, "some")] == ["a", "b"]
