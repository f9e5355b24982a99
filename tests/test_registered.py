"""What the front page says of the registered comparison's data: which of it was seen before."""

import json

import yaml

from naslora_workbook.research.compare import RECORDED


def test_of_its_domains_one_had_been_scored_on_test_images_before():
    protocol = yaml.safe_load((RECORDED / "registered" / "protocol.yml").read_text())
    records = [json.loads(path.read_text()) for path in RECORDED.rglob("*.json")]
    runs = [r for r in records if "split" in r.get("setting", {})]
    asked = [r for r in runs if "protocol" in r]
    assert {r["data"] for r in asked} == {*protocol["development"], *protocol["test"]}
    elsewhere = {r["data"] for r in runs if "protocol" not in r and r["setting"]["split"] == "test"}
    assert elsewhere == {"kvasir_polyp"}  # the README says so
    chosen_on = {r["data"] for r in runs if r["setting"]["split"] == "val"}
    assert not (elsewhere | chosen_on) & set(protocol["test"])
