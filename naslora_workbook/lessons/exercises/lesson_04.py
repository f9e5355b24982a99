"""Exercises of lesson 04: a shuffle undone, an operator inside windows, a receptive field."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.drawn import normal


def ex_4_1(answer):
    """The shuffle test with false alarms"""

    def case(rng):
        n, c = int(rng.integers(5, 12)), int(rng.integers(2, 6))
        alone = nn.Linear(c, 3).double().requires_grad_(False)
        alone.weight.copy_(normal(rng, 3, c))
        layer = alone if rng.random() < 0.5 else lambda x: x.cumsum(1)  # the second knows place
        return layer, normal(rng, 2, n, c), torch.from_numpy(rng.permutation(n))

    def reference(layer, x, order):
        shuffled = layer(x[:, order])
        back = torch.empty_like(shuffled)
        back[:, order] = shuffled
        return float((back - layer(x)).abs().max())

    return checks.check(
        "4.1",
        answer,
        reference,
        case,
        hint="`x[:, order]` puts token order[i] at place i. Put it back before you compare.",
        mistakes={
            "`order` was applied twice. Use its inverse to put the tokens back.": (
                lambda layer, x, order: float((layer(x[:, order])[:, order] - layer(x)).abs().max())
            ),
            "The tokens were not put back: compare each token with itself.": (
                lambda layer, x, order: float((layer(x[:, order]) - layer(x)).abs().max())
            ),
        },
        proves="The test finds no use of place in layers that treat tokens alone, and finds it in "
        "the others.",
    )


def ex_4_2(answer):
    """Window partition round trip"""
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    def case(rng):
        b, h, w, c = (int(rng.integers(*ends)) for ends in ((1, 3), (4, 13), (4, 13), (1, 4)))
        return normal(rng, b, h, w, c), int(rng.integers(2, 8))

    def sams(operator, x, window):
        windows, padded = window_partition(x, window)
        return window_unpartition(operator(windows), window, padded, x.shape[1:3])

    def padding_left(operator, x, window):
        return F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))

    def scrambled(operator, x, window):
        padded = padding_left(operator, x, window)
        windows = operator(padded.reshape(-1, window, window, x.shape[-1]))
        return windows.reshape(padded.shape)[:, : x.shape[1], : x.shape[2]]

    def both(function, x, window):
        there_and_back = function(lambda windows: windows, x.clone(), window)
        blurred = function(_blur, x.clone(), window)
        return [str(_shape(there_and_back)), there_and_back[..., 0], blurred[..., 0]]

    return checks.check(
        "4.2",
        lambda x, window: both(answer, x, window),
        lambda x, window: both(sams, x, window),
        case,
        hint="First with an operator that does nothing, then with a 3 x 3 mean inside windows.",
        mistakes={
            "The operator ran on the whole map: cut it into windows first.": (
                lambda x, window: both(lambda operator, x, window: operator(x), x, window)
            ),
            "The windows are scrambled: `permute` brings both counts to the front, before the "
            "operator and after it.": lambda x, window: both(scrambled, x, window),
            "The padding is still there: cut the result to the size of x.": (
                lambda x, window: both(padding_left, x, window)
            ),
        },
        proves="Your windows are SAM's, padding included, for any operator inside them.",
    )


def _shape(x) -> tuple:
    return tuple(x.shape)


def _blur(windows: Tensor) -> Tensor:
    """A 3 x 3 mean of `N H W C`, zeros beyond the border: it tells where the windows are."""
    return F.avg_pool2d(windows.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)


def ex_4_3(answer):
    """The receptive field by gradient support"""

    def case(rng):
        h, w = (int(n) for n in rng.integers(7, 12, 2))
        k, dilation = int(rng.choice([1, 3, 5])), int(rng.integers(1, 3))
        kernel = normal(rng, 2, 2, k, k)
        kernel[:, 1] = -kernel[:, 0]  # gradients of the two input channels add up to nothing,
        kernel[1] = -kernel[0]  # and so do the two output channels
        at = int(rng.integers(h)), int(rng.integers(w))
        return _layer(kernel, dilation), normal(rng, 2, h, w, 2), at

    def reference(layer, x, at):
        y = layer(x)[:, at[0], at[1]]
        reached = torch.zeros(x.shape[1:3], dtype=torch.bool)
        for place in torch.cartesian_prod(*map(torch.arange, x.shape[1:3])).tolist():
            other = x.clone()
            other[:, place[0], place[1], 0] += 1
            reached[tuple(place)] = not torch.equal(layer(other)[:, at[0], at[1]], y)
        return reached

    return checks.check(
        "4.3",
        answer,
        reference,
        case,
        hint="Channels may cancel, at both ends: multiply those of the output by random numbers "
        "before `backward`, and take absolute values of the gradient before you add.",
        proves="One gradient finds what changing every token one by one finds.",
    )


def _layer(kernel: Tensor, dilation: int):
    reach = dilation * (kernel.shape[-1] // 2)

    def layer(x: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=reach, dilation=dilation)
        return y.permute(0, 2, 3, 1)

    return layer
