"""A run with a cache ends as one without, and the cache is bounded, mended and refused in words."""

import os
from pathlib import Path

import pytest
import torch
from tiny import tiny_data

from naslora_core.adapters import LST, VPT, ConvLoRA, DecoderOnly, Full, LoRA, NASLoRA, adapt
from naslora_core.cli import build_parser
from naslora_core.cli import fit_command as own_images
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.training import embedding_cache as feature_cache
from naslora_core.training import run_folder as state
from naslora_core.training.early_stopping import EarlyStopping
from naslora_core.training.embedding_cache import BoundedFolder, FeatureCache, cached, cut_of, stack
from naslora_core.training.fitting import fit
from naslora_workbook.research.early import Cut
from naslora_workbook.research.unet import UNet

LATE = LoRA(rank=2, blocks="late-2")
QUIET = {"batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval().requires_grad_(False)


def trained(sam, method, **how):
    model = adapt(sam, method)
    result = fit(model, tiny_data(), **{"steps": 2, **QUIET, **how})
    return {n: p.detach().clone() for n, p in model.trainable().items()}, result


def same(a, b) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize(
    "method",
    [
        DecoderOnly(),
        LATE,
        Full(blocks="late-1"),
        VPT(tokens=2, blocks="late-2"),
        ConvLoRA(blocks=(4,)),
        NASLoRA(rank=2, blocks="late-1", place="map"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_run_with_a_cache_ends_with_the_same_bits(sam, method, tmp_path):
    plain, _ = trained(sam, method)
    kept, result = trained(sam, method, cache=tmp_path)
    assert same(plain, kept) and any(tmp_path.iterdir())
    assert "forward" not in vars(result.model.sam.image_encoder)


@pytest.mark.parametrize("how", [{"precision": "bf16"}, {"checkpointing": True}, {"accumulate": 2}])
def test_so_it_does_in_other_precisions_and_beside_other_savings(sam, how, tmp_path):
    plain, _ = trained(sam, LATE, **how)
    assert same(plain, trained(sam, LATE, cache=tmp_path, **how)[0])
    wrong = trained(sam, LATE, cache=tmp_path)[0]  # fp32 after bf16, in the same folder
    assert same(wrong, trained(sam, LATE)[0])


def test_early_blocks_run_once_an_image_and_late_ones_always(sam, tmp_path):
    model, counts = adapt(sam, LATE), {0: 0, 5: 0}
    for i in counts:
        model.sam.image_encoder.blocks[i].register_forward_hook(
            lambda *_, i=i: counts.update({i: counts[i] + 1})
        )
    images = torch.rand(3, 3, 128, 128) * 255
    with cached(model, FeatureCache(tmp_path)):
        once = model(images).low_res
        again = model(images[[2, 0]]).low_res
    assert counts == {0: 3, 5: 2} and torch.equal(again, once[[2, 0]])


def test_validation_images_are_kept_too(sam, tmp_path):
    early_stopping = EarlyStopping(every=2)
    plain, a = trained(sam, LATE, early_stopping=early_stopping)
    kept, b = trained(sam, LATE, early_stopping=early_stopping, cache=tmp_path)
    assert same(plain, kept) and a.history[1]["val_dice"] == b.history[1]["val_dice"]


def test_half_is_half_as_large_and_its_error_is_small_and_its_run_another(sam, tmp_path):
    whole, a = trained(sam, LATE, cache=tmp_path / "whole")
    half, b = trained(sam, LATE, cache=FeatureCache(tmp_path / "half", half=True))
    sizes = [sum(f.stat().st_size for f in (tmp_path / n).iterdir()) for n in ("whole", "half")]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)
    apart = max(abs(x["loss"] - y["loss"]) for x, y in zip(a.history, b.history, strict=True))
    assert apart < 1e-3 and not same(whole, half)
    fit(adapt(sam, LATE), tiny_data(), steps=2, out=tmp_path / "run", **QUIET)
    with pytest.raises(UserError, match="features "):
        halved = FeatureCache(tmp_path / "half", half=True)
        fit(adapt(sam, LATE), tiny_data(), steps=2, out=tmp_path / "run", cache=halved, **QUIET)


def test_features_beyond_float16_are_refused():
    with pytest.raises(UserError, match="reach 1e.05.*leave `half` out"):
        feature_cache._halved(torch.tensor([1e5]))


def test_other_weights_and_other_cuts_have_other_keys(sam):
    torch.manual_seed(1)
    other = build_nano().eval()
    methods = LATE, LoRA(rank=2, blocks="late-3"), DecoderOnly()
    keys = {cut_of(adapt(base, m)).key() for base in (sam, other) for m in methods}
    assert len(keys) == 6
    assert cut_of(adapt(sam, LATE)).key() == cut_of(adapt(sam, NASLoRA(blocks=(4,)))).key()


def test_the_cut_is_where_training_begins(sam):
    found = {m: cut_of(adapt(sam, m)) for m in (DecoderOnly(), LATE, Full(blocks=(3, 5)))}
    assert [c.blocks for c in found.values()] == [6, 4, 3]
    assert [c.whole for c in found.values()] == [True, False, False]
    encoder, x = adapt(sam, LATE).sam.image_encoder, torch.randn(2, 3, 128, 128)
    cut = Cut(encoder, encoder.blocks[2].parameters())
    assert torch.equal(cut.late(cut.early(x)), encoder(x))


@pytest.mark.parametrize(
    "method, told",
    [
        (LoRA(rank=2), "LoRA trains the first block.*late-4"),
        (Full(), "Full trains the first block"),
        (LST(), "LST has no official encoder with frozen blocks"),
    ],
)
def test_what_has_no_early_part_is_refused_before_anything_is_written(sam, tmp_path, method, told):
    with pytest.raises(UserError, match=told):
        fit(adapt(sam, method), tiny_data(), cache=tmp_path / "c", out=tmp_path / "o", **QUIET)
    assert not any(tmp_path.iterdir())


def test_other_pixels_every_time_and_other_nonsense_are_refused(sam, tmp_path):
    with pytest.raises(UserError, match="augment='full' draws others.*flips"):
        fit(adapt(sam, LATE), tiny_data(), cache=tmp_path, augment="full", **QUIET)
    with pytest.raises(UserError, match="cache of 0 GB keeps nothing"):
        FeatureCache(tmp_path, gigabytes=0)
    with pytest.raises(UserError, match="no official encoder.*leave the cache out"):
        cut_of(UNet(128, 1, 4, 0))


def test_the_folder_is_bounded_and_throws_away_the_longest_unused(tmp_path):
    size = len((_put(tmp_path / "one", 1e6, "a") / "a.tensor").read_bytes())
    files = BoundedFolder(tmp_path / "two", 4.5 * size)
    for i, name in enumerate("abcd"):
        files.put(name, torch.zeros(100))
        os.utime(files.path / f"{name}.tensor", ns=(i, i))
    assert files.get("a") is not None  # now the one used last
    files.put("e", torch.ones(100))
    left = {p.stem for p in files.path.iterdir()}
    assert left == {"a", "c", "d", "e"} or left == {"a", "d", "e"}
    assert sum(p.stat().st_size for p in files.path.iterdir()) <= 4.5 * size
    files.put("large", torch.zeros(10_000))
    assert files.get("large") is None and files.get("e") is not None


def test_a_folder_that_two_processes_filled_is_not_halved_by_the_next(tmp_path):
    size = len((_put(tmp_path / "one", 1e6, "a") / "a.tensor").read_bytes())
    first, second = (BoundedFolder(tmp_path / "two", 8.5 * size, 2) for _ in range(2))
    for name in "abcd":
        first.put(name, torch.zeros(100))
        second.put(f"{name}2", torch.zeros(100))
    again = BoundedFolder(tmp_path / "two", 8.5 * size, 2)
    assert len(list(again.path.iterdir())) == 8
    again.put("e", torch.zeros(100))
    left = list(again.path.iterdir())
    assert 7 <= len(left) <= 8 and sum(p.stat().st_size for p in left) <= 8.5 * size


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_tensors_come_back_as_they_lay_in_memory(tmp_path, axes):
    files, tensor = BoundedFolder(tmp_path, 1e6), torch.randn(2, 3, 4).permute(axes)
    files.put("x", tensor)
    found = files.get("x")
    assert torch.equal(found, tensor) and found.stride() == tensor.stride()
    both = stack([found, 2 * tensor])
    assert torch.equal(both, torch.stack([tensor, 2 * tensor]))
    assert both[0].stride() == tensor.stride()


def _put(path: Path, room: float, name: str) -> Path:
    BoundedFolder(path, room).put(name, torch.zeros(100))
    return path


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_computed_again(sam, tmp_path, harm):
    plain, _ = trained(sam, LATE, cache=tmp_path)
    for file in tmp_path.iterdir():
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        content = {"cut": content[:-9], "flipped": content, "empty": b""}[harm]
        file.write_bytes(content)
    assert same(plain, trained(sam, LATE, cache=tmp_path)[0])
    assert same(plain, trained(sam, LATE, cache=tmp_path)[0])


def test_resumed_with_a_half_filled_cache_equals_uninterrupted(sam, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "EVERY", 2)
    plain, _ = trained(sam, LATE, steps=6)

    class Stop(Exception):
        pass

    def stop(event):
        if event["step"] == 3:
            raise Stop

    how = {"steps": 6, "out": tmp_path / "run", "cache": tmp_path / "cache"}
    with pytest.raises(Stop):
        trained(sam, LATE, on_event=stop, **how)
    for file in list((tmp_path / "cache").iterdir())[::2]:
        file.unlink()
    assert same(plain, trained(sam, LATE, **how)[0])


def test_the_command_hands_folder_room_and_half_to_the_training(tmp_path, monkeypatch):
    class Told(Exception):
        pass

    def train(*_, cache, **__):
        raise Told(cache)

    monkeypatch.setattr(own_images, "train", train)
    monkeypatch.setattr(own_images, "open_data", lambda *_, **__: tiny_data())
    words = "fit squares --method decoder_only --cache-gb 0.5 --cache-half --cache".split()
    arguments = build_parser().parse_args([*words, str(tmp_path)])
    with pytest.raises(Told) as told:
        arguments.run(arguments)
    assert told.value.args[0] == FeatureCache(str(tmp_path), 0.5, half=True)
