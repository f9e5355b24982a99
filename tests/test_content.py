"""Pictures, masks and names make the digest of a set; another set under its name is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import squares, tiny_data, tiny_sam

from naslora_core.adapters import LoRA, adapt
from naslora_core.data import Split, content
from naslora_core.errors import UserError
from naslora_core.training.fitting import fit
from naslora_workbook.lessons.domains import domain
from naslora_workbook.research.compare import Setting, compare

SETTING = Setting(steps=1, batch=2)
QUIET = {"steps": 1, "batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


def corrected(samples):
    """The same pictures and names with other masks."""
    return [replace(s, mask=np.roll(s.mask, 20, 0)) for s in samples]


def repainted(samples):
    return [replace(s, image=s.image[::-1]) for s in samples]


def test_names_pictures_masks_and_splits_all_count():
    a = squares(3)
    renamed = [replace(s, name=f"{s.name}x") for s in a]
    sets = [(a,), (corrected(a),), (repainted(a),), (renamed,), (a[:2],), (a[:2], a[2:]), (a, a)]
    assert len({content(*s) for s in sets}) == len(sets)
    assert content(a) == content(squares(3)) and len(content(a)) == 12


def test_files_are_read_once_and_a_drawn_domain_by_one_picture_alone():
    read, samples = [], {s.name: s for s in squares(3)}
    split = Split(lambda name: read.append(name) or samples[name], list(samples))
    assert content(split) == content(squares(3)) and read == list(samples)
    drawn = domain("polyp", train=500, size=32).train
    digest = content(drawn)
    assert len(drawn._kept) == 1
    assert digest != content(domain("polyp", train=500, size=64).train) != content(drawn[:4])


@pytest.mark.parametrize("change", [corrected, repainted])
def test_a_run_of_the_same_names_with_another_content_is_refused(sam, tmp_path, change):
    data = tiny_data()
    fit(adapt(sam, LoRA(rank=2)), data, out=tmp_path, **QUIET)
    before = (tmp_path / "last.safetensors").read_bytes()
    for part in ("train", "val"):
        other = replace(data, **{part: change(getattr(data, part))})
        with pytest.raises(UserError, match="holds a run with other pictures or masks; .* `out`"):
            fit(adapt(sam, LoRA(rank=2)), other, out=tmp_path, **QUIET)
    assert (tmp_path / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize("part, change", [("train", corrected), ("test", corrected),
                                          ("val", repainted)])  # fmt: skip
def test_a_record_of_another_content_is_not_taken_for_this_one(sam, tmp_path, part, change):
    data = tiny_data()
    compare(sam, data, ["decoder_only"], [0], tmp_path, SETTING, "")
    other = replace(data, **{part: change(getattr(data, part))})
    with pytest.raises(UserError, match=r"\.json was made of other pictures or masks.*another fol"):
        compare(sam, other, ["decoder_only"], [0], tmp_path, SETTING, "")


def test_a_record_without_a_digest_stays_valid(sam, tmp_path, monkeypatch):
    """As those that the package carries."""
    compare(sam, tiny_data(), [], [], tmp_path, SETTING, "")
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    assert len(record.pop("content")) == 12
    path.write_text(json.dumps(record))
    monkeypatch.setattr("naslora_workbook.research.compare.content", None)  # not even asked for
    assert compare(sam, tiny_data(), [], [], tmp_path, SETTING, "") == [record]
