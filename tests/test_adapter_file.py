"""One file holds the whole adapter, fits its own base, and says what is wrong with any other."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from adapting import METHODS, random_images, register_max_pool, shaken, small_sam
from old_files import FOLDER, tiny_images, tiny_sam
from safetensors import safe_open
from safetensors.torch import load_file

from naslora_core.adapters import (
    LoRA,
    NASLoRA,
    adapt,
    fold,
    load_adapter,
    load_folded,
    save_adapter,
    tensor_file,
)
from naslora_core.adapters.checkpoint import FORMAT
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, load_sam, model_hash
from naslora_core.search import operator_registry
from naslora_workbook.research.methods import LST


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.fixture
def saved(sam, tmp_path):
    return save_adapter(shaken(adapt(sam, LoRA(rank=2))), tmp_path / "mine.safetensors")


def rewritten(path, change):
    """The same file, properly written, with another description or other tensors."""
    facts, tensors = tensor_file.read(path, FORMAT)
    change(facts, tensors)
    return tensor_file.write(path, tensors, facts)


@pytest.mark.parametrize("name, classes", [("nas_lora", 3), *((name, 1) for name in METHODS)])
def test_save_and_load_are_bit_exact(sam, tmp_path, name, classes):
    model = shaken(adapt(sam, METHODS[name], classes=classes, seed=4))
    again = load_adapter(sam, save_adapter(model, tmp_path / "mine.safetensors"))
    assert (again.method, again.classes, again.seed) == (model.method, classes, 4)
    assert again.trainable().keys() == model.trainable().keys()
    assert all(torch.equal(p, again.trainable()[n]) for n, p in model.trainable().items())
    with torch.no_grad():
        assert torch.equal(model(random_images()).masks, again(random_images()).masks)


def test_how_images_come_to_the_square_is_kept_and_goes_into_the_fold(sam, small_base, tmp_path):
    model = adapt(sam, LoRA(rank=2), classes=2, resize="pad")
    again = load_adapter(sam, save_adapter(model, tmp_path / "mine.safetensors"))
    folded = load_folded(fold(again).save(tmp_path / "folded.safetensors"))
    assert (again.resize, folded.resize) == ("pad", "pad")


def test_the_file_holds_adapter_and_decoder_but_not_the_base(sam, saved):
    names = load_file(saved).keys()
    assert sum(n.endswith((".We", ".Wd")) for n in names) == 12
    assert any(n.startswith("sam.mask_decoder.transformer") for n in names)
    assert {"head.token", "head.mlps.0.layers.0.weight"} <= names
    assert not any("attn.qkv.base" in n or "iou_prediction_head" in n for n in names)


def test_the_description(sam, tmp_path):
    path = save_adapter(
        adapt(sam, NASLoRA(rank=2, blocks=(0, 3)), seed=9), tmp_path / "a.safetensors"
    )
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    settings = json.loads(facts["settings"])
    assert facts["method"] == "NASLoRA" and settings["rank"] == 2 and settings["blocks"] == [0, 3]
    assert (facts["base_name"], facts["base_hash"]) == ("sam_nano", model_hash(sam))
    assert (facts["classes"], facts["image_size"], facts["seed"]) == ("1", "64", "9")
    assert facts["operator_hash"] and facts["version"]


def test_one_base_many_adapters_swapped_without_reloading(sam, tmp_path):
    paths, wanted = [], []
    for i, method in enumerate((LoRA(), NASLoRA(), LoRA(rank=1))):
        model = shaken(adapt(sam, method), seed=i)
        paths.append(save_adapter(model, tmp_path / f"{i}.safetensors"))
        wanted.append(model(random_images()).low_res)
    for i in (0, 1, 2, 1, 0):
        assert torch.equal(load_adapter(sam, paths[i])(random_images()).low_res, wanted[i])


def test_another_base_is_refused_with_both_hashes(sam, saved):
    other = small_sam(seed=1)
    with pytest.raises(UserError) as refused:
        load_adapter(other, saved)
    for model in (sam, other):
        assert model_hash(model)[:12] in str(refused.value)


def test_missing_and_unknown_tensors_are_named(sam, saved):
    def change(facts, tensors):
        tensors["head.extra"] = tensors.pop("head.token")

    with pytest.raises(UserError, match=r"misses.*head\.token.*unknown.*head\.extra"):
        load_adapter(sam, rewritten(saved, change))


def test_a_tensor_of_another_shape_is_named(sam, saved):
    def change(facts, tensors):
        tensors["head.token"] = tensors["head.token"][:, :5]

    with pytest.raises(UserError, match=r"another shape.*head\.token"):
        load_adapter(sam, rewritten(saved, change))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "MagicLoRA"}, r"'MagicLoRA'.*NASLoRA"),
        ({"settings": '{"rank": 2, "colour": 3}'}, "colour"),
        ({"settings": "{"}, "settings"),
    ],
)
def test_a_description_that_this_version_cannot_build(sam, saved, change, message):
    with pytest.raises(UserError, match=message):
        load_adapter(sam, rewritten(saved, lambda facts, tensors: facts.update(change)))


def test_another_operator_set_is_refused(sam, tmp_path, monkeypatch):
    register_max_pool(monkeypatch)
    model = adapt(sam, NASLoRA(rank=2, operators=("skip", "max_of_3x3")))
    path = save_adapter(model, tmp_path / "mine.safetensors")
    load_adapter(sam, path)
    with pytest.raises(UserError, match="are [0-9a-f]{12} here"):
        load_adapter(sam, rewritten(path, lambda facts, _: facts.update(operator_hash="0")))
    monkeypatch.undo()
    with pytest.raises(UserError, match="max_of_3x3"):
        load_adapter(sam, path)


def test_a_file_of_the_workbooks_methods_names_them_where_the_core_stands_alone(tmp_path):
    base, methods = load_sam(), (LST(), NASLoRA(rank=2, operators="darts"))
    for i, method in enumerate(methods):
        save_adapter(adapt(base, method), tmp_path / f"{i}.safetensors")
    code = """
import sys, naslora_core as core
from naslora_core.errors import UserError
for file in sys.argv[1:]:
    try:
        core.load_adapter(core.load_sam(), file)
    except UserError as error:
        print(error)
"""
    words = [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    for i, sentence in enumerate(told):
        assert f"{i}.safetensors" in sentence and "naslora_workbook.research.methods" in sentence
    assert len(told) == len(methods)


@pytest.mark.parametrize("where", ["description", "tensor"])
def test_an_altered_file_is_refused(sam, saved, where):
    data = bytearray(saved.read_bytes())
    place = data.index(b'\\"scale\\": 8.0') + 11 if where == "description" else len(data) - 3
    data[place] ^= 1
    saved.write_bytes(data)
    with pytest.raises(UserError, match="altered"):
        load_adapter(sam, saved)


@pytest.mark.parametrize("keep", [0, 5, 1000, -100])
def test_a_truncated_file_is_refused(sam, saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"\.safetensors"):
        load_adapter(sam, saved)


def test_other_files_are_refused(sam, tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="format None; expected 'naslora-adapter-4'"):
        load_adapter(sam, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"words")
    with pytest.raises(UserError, match=r"\.safetensors"):
        load_adapter(sam, tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"There is no file .*none.*`fit` leaves best"):
        load_adapter(sam, tmp_path / "none.safetensors")


def test_a_failing_write_leaves_the_old_file(sam, saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(UserError, match="disk full"):
        save_adapter(adapt(sam, LoRA()), saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_equal_models_give_equal_bytes(sam, tmp_path):
    files = [
        save_adapter(shaken(adapt(sam, LoRA(rank=2, blocks=(0,)))), tmp_path / f"{i}.safetensors")
        for i in range(3)
    ]
    assert len({file.read_bytes() for file in files}) == 1


def test_names_of_classes_and_the_tile_are_kept(sam, tmp_path):
    model = adapt(sam, LoRA(rank=1, blocks=(0,)), classes=2)
    model.class_names, model.tile = ("leaf", "soil"), 512
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    assert (again.class_names, again.tile) == (("leaf", "soil"), 512)


def test_settings_that_a_file_does_not_name_take_their_defaults(sam, saved):
    def change(facts, tensors):
        facts["settings"] = '{"rank": 2}'
        for name in ("tile", "class_names", "resize"):
            del facts[name]

    again = load_adapter(sam, rewritten(saved, change))
    assert again.method == LoRA(rank=2) and again.tile is None and again.resize == "square"


def test_an_operator_defined_anew_is_refused(sam, tmp_path, monkeypatch):
    """The hash is of what an operator computes, not of its name."""
    register_max_pool(monkeypatch)
    model = adapt(sam, NASLoRA(rank=2, blocks=(0,), operators=("skip", "max_of_3x3")))
    path = save_adapter(model, tmp_path / "mine.safetensors")
    monkeypatch.undo()
    monkeypatch.setattr(operator_registry, "REGISTRY", dict(operator_registry.REGISTRY))

    @operator_registry.operator("max_of_3x3")
    class MaxPool(operator_registry.Operator):
        side = 5

        def forward(self, z):
            return torch.nn.functional.max_pool2d(z, 5, 1, 2)

    with pytest.raises(UserError, match=r"mine\.safetensors"):
        load_adapter(sam, path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda p: p.stem)
def test_a_committed_file_of_before_loads_and_predicts_the_same_masks(path, tmp_path):
    base, images = tiny_sam(), tiny_images()
    model = load_adapter(base, path)
    wanted = torch.from_numpy(np.load(FOLDER / "masks.npz")[path.stem])
    with torch.no_grad():
        found, plain = model(images).low_res, Segmenter(base)(images).low_res
        again = load_adapter(base, save_adapter(model, tmp_path / "anew.safetensors"))
        assert torch.equal(again(images).low_res, found)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert (plain - wanted).abs().max() > 1e-3
