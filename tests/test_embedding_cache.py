"""A run with a cache of embeddings ends as one without; damage is computed anew."""

import pytest
import torch
from tiny import SIDE, tiny_data, tiny_sam

from naslora_core.adapters import DecoderOnly, Full, LoRA, adapt
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.training.early_stopping import EarlyStopping
from naslora_core.training.embedding_cache import cached_embeddings
from naslora_core.training.fitting import fit
from naslora_workbook.research.methods import LST, BitFit
from naslora_workbook.research.unet import UNet

QUIET = {"batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def nano():
    """Its embedding of an image is the same in any batch; that of the tiny SAM is rounded."""
    torch.manual_seed(0)
    return build_nano().eval().requires_grad_(False)


def trained(sam, **how):
    model = adapt(sam, DecoderOnly())
    result = fit(model, tiny_data(), **{"steps": 3, **QUIET, **how})
    assert "forward" not in vars(result.model.sam.image_encoder)
    return {n: p.detach().clone() for n, p in model.trainable().items()}, result


def same(a, b) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize(
    "how", [{}, {"precision": "bf16"}, {"accumulate": 2}, {"early_stopping": EarlyStopping(2)}]
)
def test_a_run_with_a_cache_ends_with_the_same_bits(nano, how, tmp_path):
    plain, a = trained(nano, **how)
    kept, b = trained(nano, cache=tmp_path, **how)
    assert same(plain, kept) and any(tmp_path.iterdir())
    assert [e.get("val_dice") for e in a.history] == [e.get("val_dice") for e in b.history]


def test_an_image_is_encoded_once_and_other_weights_have_other_files(sam, tmp_path):
    images, ran = torch.rand(3, 3, SIDE, SIDE) * 255, []
    for seed in (0, 0, 1):
        model = adapt(tiny_sam(seed), DecoderOnly())
        hook = model.sam.image_encoder.neck.register_forward_hook(lambda *_: ran.append(1))
        with cached_embeddings(model, tmp_path), torch.no_grad():
            once, again = model(images).low_res, model(images[[2, 0]]).low_res
        hook.remove()
        assert torch.allclose(again, once[[2, 0]], atol=1e-5)
    assert len(ran) == 6  # three images of two models


@pytest.mark.parametrize("harm", [lambda b: b[:-9], lambda b: b[:-1] + b"?", lambda b: b""])
def test_a_damaged_file_is_computed_again(sam, tmp_path, harm):
    plain, _ = trained(sam, cache=tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(harm(file.read_bytes()))
    assert same(plain, trained(sam, cache=tmp_path)[0])


@pytest.mark.parametrize("method", [LoRA(rank=2, blocks="late-1"), Full(), BitFit(), LST()])
def test_a_method_that_trains_in_the_encoder_is_refused(sam, tmp_path, method):
    with pytest.raises(UserError, match=type(method).__name__):
        fit(adapt(sam, method), tiny_data(), cache=tmp_path / "c", out=tmp_path / "o", **QUIET)
    assert not any(tmp_path.iterdir())


def test_other_pixels_every_time_and_another_model_are_refused(sam, tmp_path):
    with pytest.raises(UserError, match="augment='full'"):
        fit(adapt(sam, DecoderOnly()), tiny_data(), cache=tmp_path, augment="full", **QUIET)
    with pytest.raises(UserError, match="FromScratch"):
        fit(UNet(SIDE, 1, 4, 0), tiny_data(), cache=tmp_path, **QUIET)
