# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Look for what the encoder lacks
#
# > Eight claims about what a plain ViT knows of space, each beside what would refute it. Then the
# > evidence, on a trained and an untrained encoder. A claim may fall.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/04_missing_spatial_priors.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/04_missing_spatial_priors.ipynb)
#
# **Cost** 22 s · 0.8 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [02](02_adapt_end_to_end.ipynb).

# %% [markdown]
# **The question:** what does a plain ViT encoder not know about space, and what evidence would
# show that we are wrong?
#
# **You will build** a set of tests that could refute the case for spatial operators, and run
# them on a trained SAM beside an untrained one.
#
# **You will be able to**
# - tell what an architecture *assumes* about place from what a trained model *uses*;
# - say exactly what is lost inside a patch, and prove it with an image that nobody sees;
# - find a layer's receptive field by a gradient, and count who touches a window's border;
# - measure translation equivariance across a border;
# - set up a learning curve that can say no.
#
# | you need | where | minutes |
# |---|---|---|
# | patches, windows, global blocks | [01](01_see_sam.ipynb) | 30 |
# | why decoder-only is the baseline | [02](02_adapt_end_to_end.ipynb) | 30 |
# | a permutation, a null space | any linear algebra | - |

# %% [markdown]
# ## The claims, before the evidence
# | | claim | what would refute it |
# |---|---|---|
# | 1 | attention alone has no neighbours | with its position tables at zero, shuffling a block's input does more than shuffle its output |
# | 2 | the trained encoder uses place | shuffling within windows changes its tokens no more than an untrained one's |
# | 3 | what the patch map drops, no operator on tokens brings back | two images with equal tokens and unequal outputs |
# | 4 | an operator inside windows stops at their borders | a gradient to a token beyond one |
# | 5 | the border is felt in the features | an object across it changes no more than one that slides within a window |
# | 6 | it is felt in the mask | across the border the Dice falls by less than .01 |
# | 7 | neighbours help a probe, a small classifier of tokens | a 3 × 3 gains nothing, or random neighbours gain as much |
# | 8 | they help most where images are few | the gain does not shrink as images are added |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.figures.space import Verdicts, interval, support
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.headline import record
from scipy.stats import mannwhitneyu
from torch import nn

from naslora_core import load_sam
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter, build_nano
from naslora_core.training.metrics import dice

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "camouflage"  # an embedded domain, or a folder with images/ and masks/
COUNTS = [10, 30, 100]  # training images of the learning curves

# %% [markdown]
# ## What each setting decides
# `PROFILE` decides how long probes are trained; the encoder is `sam_nano` on every profile, for
# its untrained twin costs nothing. `SEED` draws the images, the twin and the shuffles. `DATA` is
# what a probe must find and `COUNTS` from how many images. In `camouflage` one pixel tells nothing
# and only neighbours do: failing to help there weighs most.

# %%
SIDE = 128
setting = replace(
    profile(PROFILE), image_size=SIDE, train=max(COUNTS) * 3 // 2, test=60
)
data = open_data(DATA, setting, seed=SEED)
images, _ = to_batch(data.test[:8], SIDE)
data

# %%
torch.manual_seed(SEED)
sam = load_sam("sam_nano")
twins = {"trained": sam, "untrained": build_nano().eval().requires_grad_(False)}

# %% [markdown]
# ## Who knows about place
# Which parts of the encoder have any notion of place, and in how many numbers? (The neck: the
# convolutions after the blocks.)

# %%
encoder = sam.image_encoder
named = list(encoder.named_parameters())
{
    "patch map, inside a patch": encoder.patch_embed.proj.weight.numel(),
    "absolute table": encoder.pos_embed.numel(),
    "relative tables": sum(p.numel() for n, p in named if "rel_pos" in n),
    "windows": 0,
    "3 × 3 of the neck": encoder.neck[2].weight.numel(),
    "the whole encoder": sum(p.numel() for _, p in named),
}

# %% [markdown]
# Windows and the neck's convolution *are* local priors: the architecture assumes them before any
# training. The position tables, absolute and relative, are another thing. Their largest entries:


# %%
def largest(sam):
    """The largest entry of all position tables."""
    named = sam.image_encoder.named_parameters()
    return max(float(p.abs().max()) for n, p in named if "pos" in n)


{name: round(largest(each), 1) for name, each in twins.items()}

# %% [markdown]
# They start at zero. Whatever they say about place, training wrote it. And without them?
#
# > **Predict first.** Take a global block, its tables at zero. Shuffle all tokens at its input.
# > What happens to its output? And what would a 3 × 3 convolution do?

# %%
block = encoder.blocks[2]  # a global one
blind = copy.deepcopy(block)
blind.attn.rel_pos_h.zero_(), blind.attn.rel_pos_w.zero_()
kernel = nn.Conv2d(160, 160, 3, padding=1, bias=False).requires_grad_(False)


def conv(x):
    """Some 3 × 3 convolution of tokens `B H W C`."""
    return kernel(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


# %%
def patches(images):
    """Tokens `B H W C` before anything knows of place."""
    return encoder.patch_embed(Segmenter(sam).preprocess(images))


def gap(layer, x, order):
    """Largest difference between shuffling tokens `B H W C` before and after."""
    before = layer(x.flatten(1, 2)[:, order].view_as(x))
    return float((before.flatten(1, 2) - layer(x).flatten(1, 2)[:, order]).abs().max())


# %%
tokens = patches(images)
side = tokens.shape[1]
anywhere = torch.randperm(side * side)
layers = {"block without tables": blind, "block": block, "convolution": conv}
gaps = {name: gap(layer, tokens, anywhere) for name, layer in layers.items()}
{name: f"{value:.0e}" if value < 1e-3 else "large" for name, value in gaps.items()}

# %% [markdown]
# Rounding, for the blind block: it treats tokens as a set, and the shuffle comes out as it went
# in. With its tables it does not, and a convolution never does. **Attention by itself has no
# neighbours**; who sits next to whom it must be told. What does the trained model do with that?
#
# ## Assumed, or used?
# Shuffle the *image's* patches, encode, and put the tokens back. If nothing has changed, place was
# of no use. We shuffle inside the windows of attention only, and anywhere.

# %%
from segment_anything.modeling.image_encoder import window_partition, window_unpartition

PATCH, WINDOW = encoder.patch_embed.proj.stride[0], encoder.blocks[0].window_size
places = torch.arange(float(side**2)).view(1, side, side, 1)
inside = torch.empty_like(anywhere)
for window in window_partition(places, WINDOW)[0].flatten(1).long():
    inside[window] = window[torch.randperm(len(window))]
orders = {"inside windows": inside, "anywhere": anywhere}


# %%
def cut(images):
    """Images `B 3 S S` to patches `B 192 N`."""
    return F.unfold(images, PATCH, stride=PATCH)


def paste(patches):
    """Patches `B 192 N` to images `B 3 S S`."""
    return F.fold(patches, (SIDE, SIDE), PATCH, stride=PATCH)


# %%
shown = {"as it is": images}
shown |= {name: paste(cut(images)[..., order]) for name, order in orders.items()}


def draw(ax, name, image=3):
    """One of the versions of an image."""
    figures.overlay(
        ax, shown[name][image].clamp(0, 255).permute(1, 2, 0).byte().numpy()
    )
    return name


figures.panel(draw, list(shown), title="The same patches: only their places differ")


# %%
@torch.no_grad()
def encode(sam, images):
    """Tokens `B H W C` of RGB `B 3 S S`: after the blocks, and after the neck."""
    parts = sam.image_encoder
    x = parts.patch_embed(Segmenter(sam).preprocess(images)) + parts.pos_embed
    for block in parts.blocks:
        x = block(x)
    return {"blocks": x, "neck": parts.neck(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)}


embedding = encode(sam, images)["neck"].permute(0, 3, 1, 2)
assert torch.allclose(embedding, encoder(Segmenter(sam).preprocess(images)), atol=1e-4)

# %% [markdown]
# > **Predict first.** Trained and untrained, shuffled inside windows and anywhere: which of the
# > four changes is zero after the blocks? And after the neck?


# %%
def moved(plain, other, order):
    """Change by the shuffle, once undone, relative to how much tokens differ."""
    plain, other = plain.flatten(1, 2), other.flatten(1, 2)
    back = torch.empty_like(other)
    back[:, order] = other
    return round(float((back - plain).norm() / (plain - plain.mean((0, 1))).norm()), 2)


# %%
used = {}
for name, each in twins.items():
    plain = encode(each, images)
    for shuffled, order in orders.items():
        other = encode(each, shown[shuffled])
        for after in plain:
            row = used.setdefault(f"{shuffled}, after the {after}", {})
            row[name] = moved(plain[after], other[after], order)
used

# %% [markdown]
# Read it row by row; 1 is a change as large as the tokens' own spread. Inside windows, the
# untrained blocks notice nothing: nothing in them can. The trained ones do, so they *use* the
# tables. Anywhere, even untrained blocks react: windows decide who meets, and that is assumed.
# After the neck both are upset, for a convolution has seen strange neighbours: a shuffle test at
# the end of the encoder says nothing about training.

# %% [markdown]
# ### Exercise 4.1 - a bug hunt: the shuffle that accuses everybody
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 8 minutes ·
# use what undoes a permutation
#
# A Linear treats every token alone. Somebody's test acquits it when two halves are swapped, and
# accuses it of using place (True) under every other shuffle:


# %%
def shuffle_test(layer, x, order):
    """Largest change of a layer's tokens `B N C`, shuffled and put back."""
    return float((layer(x[:, order])[:, order] - layer(x)).abs().max())


flat, halves = tokens.flatten(1, 2), torch.arange(side * side).roll(side * side // 2)
linear = encoder.blocks[0].mlp.lin1
{
    n: shuffle_test(linear, flat, o) > 0.1
    for n, o in {"halves": halves, **orders}.items()
}


# %%
def shuffle_mended(layer, x, order):
    """Largest change of a layer's tokens `B N C`, shuffled and put back."""
    raise NotImplementedError("Exercise 4.1: mend the line below")
    return float((layer(x[:, order])[:, order] - layer(x)).abs().max())


# %%
checks.ex_4_1(shuffle_mended)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Swapping two halves twice is no swap at all. Is that so for every order?
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def shuffle_mended(layer, x, order):
#     back = torch.argsort(order)
#     return float((layer(x[:, order])[:, back] - layer(x)).abs().max())
# ```
# `x[:, order]` puts token order[i] at place i; the way back is the inverse permutation. A swap is
# its own inverse, so it hides the bug, and so does a test on symmetric examples.
# </details>

# %% [markdown]
# ## What a patch keeps
# Each patch becomes one token by one matrix. How many numbers go in, how many come out?


# %%
def never_seen(sam):
    """Patterns `n 192` of a patch that its matrix sends to zero."""
    patch_map = sam.image_encoder.patch_embed.proj.weight.flatten(1)
    return torch.linalg.svd(patch_map)[2][len(patch_map) :]


rows = never_seen(sam)
{"in": rows.shape[1], "out": rows.shape[1] - len(rows), "never seen": len(rows)}

# %% [markdown]
# Where fewer come out, there are patterns that no token shows. Write a mixture of them over the
# images, in shades that any eye can see, and compare what comes out:

# %%
patterns = rows.T @ torch.randn(len(images), len(rows), side * side)
other = images + 1.2 * paste(patterns) * sam.pixel_std  # preprocessing divides by it
pair = [Segmenter(sam).preprocess(x) for x in (images, other)]
equal = {
    "tokens": [encoder.patch_embed(x) for x in pair],
    "3 × 3 of tokens": [conv(encoder.patch_embed(x)) for x in pair],
    "embedding": [encoder(x) for x in pair],
}
differ = {name: float((a - b).abs().max()) for name, (a, b) in equal.items()}
{name: f"{value:.0e}" for name, value in differ.items()}

# %% [markdown]
# Equal tokens, equal everything, up to rounding: a k × k operator on tokens **adds no detail inside
# a patch**. But how much of real images lies in what is lost?


# %%
def lost(sam, images):
    """The part of images `B 3 S S` that no token holds."""
    rows, std = never_seen(sam), sam.pixel_std
    return paste(rows.T @ rows @ cut(images / std)) * std


mean = images.mean((0, 2, 3), keepdim=True)
share = {
    n: float(lost(s, images - mean).var() / images.var()) for n, s in twins.items()
}
shown = {"an image": images, "another, with equal tokens": other}
shown["what the tokens hold of both"] = images - lost(sam, images - mean)
title = (
    "Lost at the patch map: {trained:.0%} of the variation, untrained {untrained:.0%}"
)
figures.panel(draw, list(shown), title=title.format(**share))

# %% [markdown]
# Where the first share is the smaller, training has turned the lost directions to where images
# have little. And ViT-B maps 768 numbers to 768: there nothing *has* to be lost. The claim is about
# resolution, one token a patch, not about blindness.

# %% [markdown]
# ## A window is a wall
# Whatever we put beside a windowed block's qkv takes every window for a picture of its own:


# %%
def in_windows(x):
    """Tokens `B H W C` through the convolution, window by window."""
    windows, padded = window_partition(x, WINDOW)
    return window_unpartition(conv(windows), WINDOW, padded, x.shape[1:3])


# %% [markdown]
# ### Exercise 4.2 - window partition round trip
# Difficulty 3 of 5 ·
# importance 4 of 5 ·
# 10 minutes ·
# use `F.pad`, `reshape` and `permute`, or your answer to 1.1
#
# Do it without SAM's functions, for any operator and any size: zeros below and to the right where
# windows do not fit, and off again at the end. With an operator that does nothing, x must return.


# %%
def within(operator, x, window):
    """Tokens `B H W C`; `operator` maps `N window window C` to the same shape."""
    raise NotImplementedError("Exercise 4.2")


# %%
checks.ex_4_2(within)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Split H into (windows, window), W likewise; bring both counts in front. The way back has the same
# `permute`.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def within(operator, x, window):
#     b, h, w, c = x.shape
#     rows, columns = -(-h // window), -(-w // window)
#     x = F.pad(x, (0, 0, 0, columns * window - w, 0, rows * window - h))
#     x = x.reshape(b, rows, window, columns, window, c).permute(0, 1, 3, 2, 4, 5)
#     x = operator(x.reshape(-1, window, window, c))
#     x = x.reshape(b, rows, columns, window, window, c).permute(0, 1, 3, 2, 4, 5)
#     return x.reshape(b, rows * window, columns * window, c)[:, :h, :w]
# ```
# Padding is made of tokens: a spatial operator reads the zeros and writes into them, which is why
# the check tries one. ViT-B pads its 64 × 64 tokens to 70 × 70.
# </details>

# %% [markdown]
# ### Exercise 4.3 - the receptive field by gradient support
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `requires_grad_` and `backward`
#
# Which input tokens can change *one* output token? Those to which it has a gradient.


# %%
def receptive_field(layer, x, at):
    """Tokens of x `B H W C` that the output at (row, column) `at` hears: bool `H W`."""
    raise NotImplementedError("Exercise 4.3")


# %%
checks.ex_4_3(receptive_field)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Sum one output token over its channels, each times a random number, and go backward; look at the
# gradient of x.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Gradients of several input channels may cancel: absolute values first, then the sum.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def receptive_field(layer, x, at):
#     x = x.detach().clone().requires_grad_()
#     y = layer(x)[:, at[0], at[1]]
#     (y * torch.randn(y.shape[-1]).to(y)).sum().backward()
#     heard = x.grad.abs().sum((0, 3))
#     return heard > 1e-6 * heard.max()
# ```
# A gradient knows no architecture diagram: it goes through partition, padding and attention alike.
# But a plain sum of output channels can be deaf: after a fresh LayerNorm it is zero, whatever x is.
# </details>

# %% [markdown]
# > **Predict first.** The red token sits at a border. How many tokens does it hear in a windowed
# > block, in a global one, and through a 3 × 3?

# %%
at = (WINDOW // 2, WINDOW - 1)
hear = {"windowed block": encoder.blocks[0], "global block": block}
hear |= {"3 × 3 inside windows": in_windows, "3 × 3 on the map": conv}
figures.supports(hear, tokens[:1], at, WINDOW)

# %% [markdown]
# Inside windows the 3 × 3 hears nothing from the other side, though its neighbour there is nearer
# than most of its window. How many positions does that concern? All that are within half a kernel
# of the border.


# %%
def touching(side, k):
    """Share of side × side positions whose k × k field is cut by the border."""
    return 1 - ((side - k + 1) / side) ** 2


def counted(side, k):
    """The same, by adding up ones."""
    field = F.conv2d(
        torch.ones(1, 1, side, side), torch.ones(1, 1, k, k), padding=k // 2
    )
    return float((field < k * k).float().mean())


sides = {"sam_nano, window": WINDOW, "sam_nano, map": side}
sides |= {"ViT-B, window": 14, "ViT-B, map": 64}
pairs = [(s, k) for s in sides.values() for k in (3, 5)]
assert all(abs(touching(*pair) - counted(*pair)) < 1e-6 for pair in pairs)
{n: {f"{k} × {k}": f"{touching(s, k):.1%}" for k in (3, 5)} for n, s in sides.items()}

# %% [markdown]
# In small windows most of a wide operator's positions look at a wall: a small model exaggerates
# what ViT-B, with larger windows, should show more mildly.

# %% [markdown]
# ## Slide an object across
# *Translation equivariance*: move the object by one token, and its features move by one token,
# unchanged. We slide discs along the first row of windows, a token a step, and compare *their own*
# tokens with those they had in mid-window (a change of 1: as if the disc were gone).

# %%
COLUMNS, MIDDLE, ACROSS = list(range(2, 12)), 3, (6, 7)
colours = torch.randint(256, (8, 2, 3, 1, 1)).float()  # eight discs, their grounds
colours[0] = torch.tensor([[200, 120, 60], [90, 120, 80]])[..., None, None]


def disc(column):
    """A mask `S S` over three tokens each way, from the token column on."""
    y, x = torch.meshgrid(*2 * [torch.arange(float(SIDE))], indexing="ij")
    return (x - PATCH * (column + 1.5) + 0.5).hypot(y - PATCH * 3.5 + 0.5) < 11


def scene(column):
    """Eight images `8 3 S S` of a disc on its ground."""
    return torch.where(disc(column), colours[:, 0], colours[:, 1])


# %%
def changes(layer):
    """Distance of a disc's tokens from those in mid-window `columns 8`; 1: gone."""
    own = torch.stack([layer(scene(c))[:, 2:5, c : c + 3].flatten(1) for c in COLUMNS])
    middle = own[COLUMNS.index(MIDDLE)]
    empty = layer(scene(99))[:, 2:5, MIDDLE : MIDDLE + 3].flatten(1)
    return (own - middle).norm(dim=-1) / (middle - empty).norm(dim=-1)


# %%
slides = {n: changes(lambda x, s=s: encode(s, x)["blocks"]) for n, s in twins.items()}
slides["3 × 3 inside windows"] = changes(lambda x: in_windows(patches(x)))
slides["3 × 3 on the map"] = changes(lambda x: conv(patches(x)))
figures.drift({n: c.mean(1).tolist() for n, c in slides.items()}, COLUMNS, ACROSS)

# %% [markdown]
# The convolution on the map moves along exactly: it *assumes* that places are alike. Inside windows
# it feels the wall, even from beside it. The untrained encoder moves along until the object lies in
# two windows; training added tables, and with them a change within windows, too. Is the change
# across the border, minus that within, more than the spread among eight discs? Mean, and both ends
# of its 95 % interval:

# %%
crossing = torch.tensor([c in ACROSS for c in COLUMNS])
within_a_window = ~crossing & (torch.tensor(COLUMNS) != MIDDLE)


def border_effect(values):
    """Mean and 95 % interval, over discs, of across the border minus within."""
    return interval(values[crossing].mean(0) - values[within_a_window].mean(0))


felt = border_effect(slides["trained"])
[round(value, 3) for value in felt]

# %% [markdown]
# An interval above zero says that the border is felt in the features. And in the mask? The decoder
# has attention over the whole map, and here a box around the disc. Dice lost across the border:


# %%
@torch.no_grad()
def drawn(column):
    """SAM's masks of the eight discs `8 S S`, a box around each."""
    model, left = Segmenter(sam), PATCH * column
    boxes = torch.tensor([[left, 16.0, left + 24, 40]]).expand(8, 4)
    low, _ = model.decode(model.encode(model.preprocess(scene(column))), boxes=boxes)
    return (F.interpolate(low, (SIDE, SIDE), mode="bilinear")[:, 0] > 0).numpy()


masks = {column: drawn(column) for column in COLUMNS}
scores = [[dice(m, disc(c).numpy()) for m in masks[c]] for c in COLUMNS]
missed = border_effect(1 - torch.tensor(scores))
[round(value, 3) for value in missed]


# %%
def slide(ax, column):
    """The first disc with its mask and the windows' borders."""
    image = scene(column)[0].permute(1, 2, 0).byte().numpy()
    figures.slid(ax, image, masks[column][0], disc(column).numpy(), WINDOW * PATCH)
    return f"column {column}: Dice {scores[COLUMNS.index(column)][0]:.2f}"


title = (
    f"Dice lost across the border: {round(missed[0], 3) + 0:+.3f}, mean of eight discs"
)
figures.explore(slide, COLUMNS, "column", title, few=[3, 6, 7, 10])

# %% [markdown]
# The white line is the border. Where the interval of Dice *lost* is above zero, the wall shows in
# masks; around or below zero the decoder has mended it, or never needed it. Here its lower end
# rounds to zero and its upper end is a few thousandths: if the wall shows, then by well below the
# .01 of claim 6. Discs on plain ground are easy; this is no proof for thin or hidden things.

# %% [markdown]
# ## The experiment that could refute us
# Does a spatial operator help, and most where images are few? Both encoders stay frozen and are run
# once. A *probe* then says of each token whether it belongs to the object: a linear map, or the
# same behind one 3 × 3 kernel a channel, which at first does nothing.

# %%
train, test = (to_batch(list(split), SIDE) for split in (data.train, data.test))
truth = [
    (F.avg_pool2d((m > 0).float()[:, None], PATCH) > 0.5).float()
    for _, m in (train, test)
]
rare = 1 / truth[0].mean() - 1  # background tokens for one of the object


# %%
def features(sam):
    """Standardised embeddings `N C H W` of the training pool and the test images."""
    both = [
        torch.cat([encode(sam, p)["neck"] for p in x.split(16)])
        for x, _ in (train, test)
    ]
    mean, std = both[0].mean((0, 1, 2)), both[0].std((0, 1, 2))
    return [((x - mean) / std).permute(0, 3, 1, 2) for x in both]


maps = {name: [*features(each), *truth] for name, each in twins.items()}
[tuple(x.shape) for x in maps["trained"]]


# %%
class Probe(nn.Module):
    """`N C H W` to logits `N 1 H W`, linear, behind a 3 × 3 a channel or not."""

    def __init__(self, channels, spatial):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(channels, 1, 3, 3)) if spatial else None
        self.linear = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x):
        if self.kernel is not None:  # starts as nothing: x + K x with K = 0
            x = x + F.conv2d(x, self.kernel, padding=1, groups=len(self.kernel))
        return self.linear(x)


# %% [markdown]
# Two controls could embarrass it. *Random neighbours*: the same kernel on a map whose tokens are
# shuffled. And a *fixed mean* of the nine, with no more to learn than the linear probe has.


# %%
def same(x):
    """The map as it is."""
    return x


def shuffled(x):
    """The map with strange neighbours, the same in every image."""
    return x.flatten(2)[..., anywhere].view_as(x)


def mean9(x):
    """Every token replaced by the mean of its neighbourhood."""
    return F.avg_pool2d(x, 3, stride=1, padding=1)


PROBES = {"linear": (same, False), "3 × 3": (same, True), "fixed mean": (mean9, False)}
PROBES["random neighbours"] = (shuffled, True)


# %%
def fit_probe(model, x, y, g):
    """Train a probe on maps `n C H W` and their truth `n 1 H W`."""
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(setting.steps):
        batch = torch.randint(len(x), (8,), generator=g)
        logits = model(x[batch])
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(logits, y[batch], pos_weight=rare).backward()
        optimiser.step()


def auc(logits, truth):
    """Share of pairs, one token inside and one outside, in the right order."""
    inside, outside = logits[truth > 0].double(), logits[truth == 0].double()
    return float(mannwhitneyu(inside, outside).statistic / len(inside) / len(outside))


# %%
def score(probe, maps, count, seed):
    """Test AUC of one probe, fitted to `count` images that the seed draws."""
    x, x_test, y, y_test = maps
    g = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(x), generator=g)[:count]
    model = Probe(x.shape[1], spatial=PROBES[probe][1])
    fit_probe(model, x[some], y[some], g)
    return auc(model(x_test).detach(), y_test)


def curves(maps):
    """AUC by probe, number of images and seed."""
    found = {}
    for probe, (change, _) in PROBES.items():
        here = [
            *map(change, maps[:2]),
            *(shuffled(y) if change is shuffled else y for y in maps[2:]),
        ]
        found[probe] = {n: [score(probe, here, n, s) for s in range(5)] for n in COUNTS}
    return found


# %% [markdown]
# > **Predict first.** Draw the four probes' lines over the `COUNTS`. Where is the gap between the
# > 3 × 3 and the linear one largest?

# %% tags=["nbval-ignore-output"]
runs = {name: curves(each) for name, each in maps.items()}
{
    name: {n: round(sum(v) / len(v), 3) for n, v in probes["linear"].items()}
    for name, probes in runs.items()
}

# %% [markdown]
# AUC of the linear probe: .5 is guessing, 1 perfect. What counts is the distance of the others to
# it, seed by seed, on the same images and batches.

# %% tags=["nbval-ignore-output"]
gained = {
    name: {
        p: {
            n: [a - b for a, b in zip(v[n], probes["linear"][n], strict=True)]
            for n in COUNTS
        }
        for p, v in probes.items()
        if p != "linear"
    }
    for name, probes in runs.items()
}
figures.gains(gained)

# %% [markdown]
# Bars are 95 % intervals over five seeds, which draw training images; all share one test set. Is
# the 3 × 3 above zero, and above random neighbours? Does it *fall* to the right, as "most where
# images are few" demands? And does it beat the fixed mean? If not, then what helped is not what the
# kernel learned but that it averages neighbours: the assumption alone.
#
# On the trained encoder, ten images leave the first question open: their five draws differ too
# much. From 30 on the 3 × 3 is above zero and above random neighbours; its gain does not fall to
# the right, and on average the fixed mean gains more.

# %% [markdown]
# ## The verdicts
# An interval wholly above zero (claim 6: above .01) lets a claim stand; wholly below, it is
# refuted; else it is undecided. Claim 7 is judged with the fewest training images, the fixed mean
# with the most.

# %% tags=["nbval-ignore-output"]
learnt, never = used["inside windows, after the blocks"].values()
beyond = int(support(in_windows, tokens[:1], at)[:, WINDOW:].sum())
blind_gap, hidden = gaps["block without tables"], differ["embedding"]
verdicts = Verdicts()
verdicts.fact(
    "1 attention alone has no neighbours", f"gap {blind_gap:.0e}", blind_gap < 1e-3
)
verdicts.fact("2 training uses place", f"{learnt}, untrained {never}", learnt > never)
verdicts.fact("3 what is dropped stays dropped", f"gap {hidden:.0e}", hidden < 1e-3)
verdicts.fact("4 windows stop an operator", f"{beyond} tokens beyond", beyond == 0)


# %% tags=["nbval-ignore-output"]
def paired(a, b):
    """Mean and interval of the differences of two lists."""
    return interval([x - y for x, y in zip(a, b, strict=True)])


few, many = min(COUNTS), max(COUNTS)
kernels, means, strangers = gained["trained"].values()
verdicts.measured("5 the border is felt in features", felt)
verdicts.measured("6 it is felt in the mask", missed, margin=0.01)
verdicts.measured("7 neighbours help: 3 × 3 over linear", interval(kernels[few]))
verdicts.measured(
    "7 neighbours help: 3 × 3 over random", paired(kernels[few], strangers[few])
)
verdicts.measured("8 most where images are few", paired(kernels[few], kernels[many]))
verdicts.measured(
    "asked later: 3 × 3 over a fixed mean", paired(kernels[many], means[many])
)
verdicts

# %% tags=["nbval-ignore-output"]
record(
    used_trained=learnt,
    used_untrained=never,
    border_in_features=felt[0],
    border_in_dice=missed[0],
    gain_at_fewest=interval(kernels[few])[0],
    gain_at_most=interval(kernels[many])[0],
)

# %% [markdown]
# ## Recap
# *What does a plain ViT encoder not know about space?* Attention has no neighbours of its own; what
# this encoder knows of place it was given (windows, neck) or has learned (tables). And the
# table above says which of our claims the evidence let stand: here the first five. 6 is refuted,
# 7 and 8 are undecided.
# - What is *assumed* shows in an untrained network, what is *used* only beside it.
# - A k × k operator on tokens mixes neighbours; the inside of a patch is beyond its reach.
# - Inside windows it stops at the wall, and a small model has much wall.
# - A claim about *features* need not hold for *masks*, and "helps" is not "helps most with little
#   data": they are tested one by one.

# %% [markdown]
# ## In practice
# - Learning curves of whole adaptations, at 10 to 1000 images, are the larger experiment.
# - A 3 × 3 that must be learned is freedom as well as a prior. Always print an operator beside a
#   fixed one, and beside one with the wrong neighbours.
# - *Not* settled before we looked: pilot runs, here and on `polyp`, led us to AUC with weighted
#   classes, the number of steps, the fixed mean, and the .01 of claim 6. All that was on an earlier
#   base, trained on fewer scenes, and easier drawings. There, with `SEED` 0, claim 7 stood and
#   claim 8 was refuted; with `SEED` 1, run once all was settled, claim 8 was undecided (the gain
#   did not shrink there either), and the fixed mean beat the learned kernel. We have not run `SEED`
#   1 anew. One domain and one test set are a reason to look again, not a law.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`, and `COUNTS` to
# what you have (the pool is half as large again as the last).
#
# ## Further reading
# - [ViT](https://arxiv.org/abs/2010.11929): where "much less image-specific inductive bias" comes
#   from, and what large data does about it.
# - [ViTDet](https://arxiv.org/abs/2203.16527): why windows and a few global blocks are enough.
# - [Intriguing properties of vision transformers](https://arxiv.org/abs/2105.10497): patch
#   shuffling on trained networks. Used, or assumed?
#
# Next: suppose that we may add only a few numbers to this encoder. Where, and how many?
#
# [<- 03](03_train_and_measure.ipynb) | [index](README.md) | [05 ->](05_lora.ipynb)
