"""A genotype survives the disk, and a file that is none is told so."""

import json
from dataclasses import replace

import pytest

from naslora_core.errors import UserError
from naslora_core.search.genotype import BlockChoice, Genotype
from naslora_core.search.operator_registry import set_hash


def example():
    block = BlockChoice(
        block="block 0",
        alpha=[0.1, -0.2],
        probability=[0.5744425168116589, 0.4255574831883411],
        argmax="skip",
        projection=None,
        residual={"skip": 0.3, "conv_3x3": 1e-17},
        margin=0.15,
        entropy=0.98,
    )
    names = ["skip", "conv_3x3"]
    return Genotype(names, set_hash(names), [block, block], "beside", "stage-wise", "polyp", seed=3)


def test_round_trip(tmp_path):
    path = tmp_path / "genotype.json"
    example().save(path)
    assert Genotype.load(path) == example()
    assert json.loads(path.read_text())["schema"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["genotype.json"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d | {"schema": 7}, "schema 7.*schema 2"),
        (lambda d: {k: v for k, v in d.items() if k != "schema"}, "schema None"),
        (lambda d: {k: v for k, v in d.items() if k != "blocks"}, "blocks"),
        (lambda d: d | {"colour": "red"}, "colour"),
        (lambda d: d | {"blocks": [{"block": "block 0"}]}, "alpha"),
        (lambda d: [1, 2], "damaged"),
    ],
)
def test_another_file_is_refused_and_the_reason_named(tmp_path, change, message):
    path = tmp_path / "genotype.json"
    example().save(path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=message):
        Genotype.load(path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.json"):
        Genotype.load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"schema": 2, "blo')
    with pytest.raises(UserError, match=r"half\.json"):
        Genotype.load(tmp_path / "half.json")


def test_it_reads_as_a_table():
    html = example()._repr_html_()
    assert html.count("<tr>") == 3 and "skip" in html and "projection" in html


def test_other_operators_and_another_base_are_refused(tmp_path):
    path = tmp_path / "genotype.json"
    replace(example(), base="sam_nano abc").save(path)
    assert Genotype.load(path, base="sam_nano abc").base == "sam_nano abc"
    with pytest.raises(UserError, match="sam_nano abd"):
        Genotype.load(path, base="sam_nano abd")
    for change in ({"operator_hash": "abc"}, {"operators": ["skip", "conv_9x9"]}):
        replace(example(), **change).save(path)
        with pytest.raises(UserError, match=r"genotype\.json"):
            Genotype.load(path)


def test_only_searches_of_one_space_are_compared():
    one = example()
    blocks = [replace(b, probability=b.probability[::-1]) for b in one.blocks]
    swapped = replace(one, blocks=blocks)
    assert one.distance(one) == 0
    assert one.distance(swapped) == pytest.approx(0.5744425168 - 0.4255574832)
    for other in (replace(one, operator_hash="abc"), replace(one, base="vit_b 0123")):
        with pytest.raises(UserError):
            one.distance(other)
