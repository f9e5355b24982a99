"""`evaluate` by the shell: whose classes are scored, what is kept, what is refused."""

import numpy as np
import pytest
from own import adapter_file, call, image_folder

from naslora_core.cli import using
from naslora_core.data import open_data
from naslora_core.errors import UserError
from naslora_core.training import score_masks

CLASSES = {"one": 1, "two": 2, "three": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of images, and an adapter, of each number of classes."""
    root = tmp_path_factory.mktemp("scored")
    for name, classes in CLASSES.items():
        image_folder(root / name, classes=classes)
        adapter_file(root / f"{name}.safetensors", classes)
    return root


@pytest.mark.parametrize("data, model", [("two", "one"), ("three", "two"), ("one", "three")])
def test_data_of_other_classes_than_the_models_are_refused(root, data, model):
    with pytest.raises(UserError, match=f"{data} has .*a model on {data}"):
        call("evaluate", root / data, root / f"{model}.safetensors")


def test_classes_that_the_data_lack_are_the_models_still(root, capsys):
    call("evaluate", root / "two", root / "three.safetensors", "--split", "train")
    assert "mean of images, over the 2 of 3 classes that occur" in capsys.readouterr().out
    call("evaluate", root / "one", root / "one.safetensors")
    assert "mean of images\n" in capsys.readouterr().out


def test_no_worst_image_is_named_where_none_is_asked_for(root, tmp_path, capsys):
    call("evaluate", root / "one", root / "one.safetensors", "--worst", 0, "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
    assert "worst:" not in capsys.readouterr().out


def test_the_worst_are_named_worst_first(root, tmp_path, capsys, monkeypatch):
    def score(model, samples, *_, **__):
        """Nothing of the second image, half of the first, all of the others."""
        masks = [s.mask for s in samples]
        rows = np.flatnonzero(masks[0].any(1))
        masks[0] = masks[0] * (np.arange(64)[:, None] < np.median(rows))
        return score_masks([masks[0], 0 * masks[1], *masks[2:]], samples)

    monkeypatch.setattr(using, "score", score)
    words = "--split", "train", "--worst", 2, "--out", tmp_path
    call("evaluate", root / "one", root / "one.safetensors", *words)
    first, second = (s.name for s in open_data(str(root / "one")).train[:2])
    assert f"worst: {second} 0.00, {first}" in capsys.readouterr().out
