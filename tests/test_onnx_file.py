"""onnxruntime computes what PyTorch does, from one file or two, and what is missing is named."""

import copy
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from adapting import register_max_pool, shaken, small_sam
from tiny import SIDE

from naslora_core.__main__ import main
from naslora_core.adapters import (
    ConvLoRA,
    NASLoRA,
    adapt,
    fold,
    save_adapter,
)
from naslora_core.adapters import checkpoint as opening
from naslora_core.adapters import onnx_export as onnx_file
from naslora_core.adapters.onnx_export import difference, export_onnx, run_onnx
from naslora_core.cli import using
from naslora_core.errors import UserError
from naslora_core.sam import build_nano, fuse

METHODS = {
    "window": NASLoRA(rank=4),
    "map": NASLoRA(rank=3, place="map", linears=("q", "v", "proj", "lin1")),  # and fused, as vit_*
}


@pytest.fixture(scope="module")
def base():
    """A windowed and a global block of nano on 10 x 10 tokens, so that windows of 8 are padded."""
    torch.manual_seed(0)
    sam = build_nano(image_size=80).eval().requires_grad_(False)
    sam.image_encoder.blocks = sam.image_encoder.blocks[1:3]
    return sam


@pytest.fixture(scope="module", params=METHODS)
def exported(request, base, tmp_path_factory):
    sam = copy.deepcopy(base)
    if request.param == "map":
        fuse(sam.image_encoder)
    model = shaken(adapt(sam, METHODS[request.param]))
    folded = fold(model)
    path = folded.save(tmp_path_factory.mktemp(request.param) / "mine.onnx")
    return SimpleNamespace(model=model, folded=folded, path=path)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_onnxruntime_equals_pytorch_for_any_batch(exported, batch):
    assert not exported.folded.vanilla
    x = torch.randn(batch, 3, 80, 80)
    with torch.no_grad():
        wanted, plain = exported.model.encode(x), fold_of_base(exported).encode(x)
    found = run_onnx(exported.path, x)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-4 < (found - plain).abs().max()


def fold_of_base(exported):
    """The same model with its side branches taken out."""
    bare = fold(exported.model).model
    for module in bare.modules():
        if hasattr(module, "kernel"):
            module.kernel.zero_()
    return bare


def test_the_difference_is_measured_and_one_file_is_left(exported):
    assert difference(exported.folded, exported.path) <= 1e-4
    assert [p.name for p in exported.path.parent.iterdir()] == ["mine.onnx"]


@pytest.fixture
def quick(exported, monkeypatch):
    """The traced graph of `exported`, not traced anew: only its writing is in question."""
    import onnx_ir

    model = onnx_ir.load(exported.path)

    def save(path, external_data):
        onnx_ir.save(model, path, external_data=f"{path.name}.data" if external_data else None)

    program = SimpleNamespace(save=save)
    monkeypatch.setattr(onnx_file, "_program", lambda encoder: program)
    return exported


@pytest.mark.parametrize("exported", ["map"], indirect=True)
def test_what_one_file_cannot_hold_stands_in_two(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_file, "LIMIT", 1000)
    path = tmp_path / "large.onnx"
    path.write_text("an older one")
    export_onnx(quick.folded, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert path.stat().st_size < (tmp_path / "large.onnx.data").stat().st_size
    assert difference(quick.folded, path) <= 1e-4


@pytest.mark.parametrize("exported", ["map"], indirect=True)
def test_the_command_folds_reports_and_exports(quick, base, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(opening, "load_sam", lambda name, checkpoint: base)
    adapter = str(save_adapter(quick.model, tmp_path / "adapter.safetensors"))
    assert not main(["export", adapter, str(tmp_path / "mine.onnx")])
    said = capsys.readouterr().out
    assert "centre tap" in said and "mine.onnx" in said and "onnxruntime" in said
    assert difference(quick.folded, tmp_path / "mine.onnx") <= 1e-4
    assert main(["export", adapter, str(tmp_path / "mine.pth")]) == 2
    assert "block 0" in capsys.readouterr().err
    assert main(["export", adapter, str(tmp_path / "no" / "mine.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_takes_folded_files(small_base, monkeypatch, tmp_path, capsys):
    model = shaken(adapt(small_sam(), NASLoRA(rank=2)))
    folded = str(fold(model).save(tmp_path / "folded.safetensors"))
    seen = []
    monkeypatch.setattr(using, "export_onnx", lambda m, p: seen.append(m) or p.touch())
    monkeypatch.setattr(using, "difference", lambda m, p: 0.0)
    assert not main(["export", folded, str(tmp_path / "mine.onnx")])
    with torch.no_grad():
        x = torch.randn(1, 3, SIDE, SIDE)
        assert (seen[0].encode(x) - model.encode(x)).abs().max() < 1e-4
    assert main(["export", folded, str(tmp_path / "again.pth")]) == 2
    assert "folded already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onnxscript", "onnx"])
def test_a_missing_package_names_the_extra(base, monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    for loaded in [m for m in sys.modules if m.split(".")[0] == "onnxscript" and m != name]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(UserError, match=rf"{name}.*naslora-core\[export\]"):
        export_onnx(fold(adapt(base, NASLoRA())), tmp_path / "mine.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_not_folded_is_refused(base, monkeypatch, tmp_path):
    path = tmp_path / "mine.onnx"
    with pytest.raises(UserError, match=r"fold\(model\)"):
        export_onnx(adapt(base, NASLoRA()), path)
    with pytest.raises(UserError, match="block 0, 1 .*GELU.*save_adapter"):
        export_onnx(fold(adapt(base, ConvLoRA())), path)
    register_max_pool(monkeypatch)
    pooled = adapt(base, NASLoRA(rank=2, operators=("skip", "max_of_3x3"), blocks=(1,)))
    with pytest.raises(UserError, match="block 1 .*max_of_3x3"):
        fold(pooled).save(path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_one_sentence(base, tmp_path, monkeypatch):
    folded = fold(adapt(base, NASLoRA()))
    for ending in ("onnx", "pth", "safetensors"):
        with pytest.raises(UserError, match="nowhere is not there"):
            fold(adapt(base, NASLoRA(operators=("skip",)))).save(
                tmp_path / "nowhere" / f"a.{ending}"
            )
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        folded.save(tmp_path / "a.onnx")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written to.*b.onnx"):
        folded.save(tmp_path / "b.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["window", "map"])
def test_the_whole_of_nano_from_a_file(tmp_path, place):
    model = shaken(adapt(small_sam(), NASLoRA(rank=4, place=place)))
    path = fold(model).save(tmp_path / "mine.onnx")
    assert difference(fold(model), path) <= 1e-4
