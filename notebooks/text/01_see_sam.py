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
# # 01 · See what SAM sees
#
# > A photograph goes in, a click goes in, a mask comes out. This lesson opens the
# > model in between and ends at the one Linear of every block beside which LoRA sits.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/01_see_sam.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/01_see_sam.ipynb)
#
# **Cost** 8 s · 0.6 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [00](00_start_here.ipynb).

# %% [markdown]
# **The question:** how much has SAM already decided about a picture before you click?
#
# **You will build** the way from pixels to masks out of SAM's own three parts, and
# prove at each step that it is the way `SamPredictor` takes.
#
# **You will be able to**
# - name SAM's three parts and the shapes that pass between them;
# - cut a token map into windows and put it back together, padding included;
# - say which tokens a block lets meet, and prove it with a gradient;
# - read three masks with their predicted IoU, and what the decoder's grid leaves of an outline;
# - point at the Linear that LoRA wraps and give the shape of its input.
#
# | you need | where | minutes |
# |---|---|---|
# | PyTorch: modules, hooks, `B C H W` | any introduction | - |
# | attention: queries, keys, values, heads | any introduction | - |
# | what a click and a box do | [00](00_start_here.ipynb) | 20 |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.domains import DOMAINS
from naslora_workbook.lessons.headline import record
from torch.utils.flop_counter import FlopCounterMode

from naslora_core.data import open_data
from naslora_core.sam import SamPredictor, Segmenter, load_sam
from naslora_core.training.ceilings import shrunk_iou
from naslora_core.training.metrics import dice
from naslora_core.training.prediction import predict

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
PHOTO = "coffee"  # any colour photograph that scikit-image packages
CLICK = (0.5, 0.33)  # x and y, as shares of the photograph
TOKEN = (0.4, 0.45)  # row and column, as shares of the token map

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and the size of its input; `SEED` draws the sample
# images near the end. `PHOTO`, `CLICK` and `TOKEN` are for you to play with: the
# numbers change, the sentences stay true.

# %%
setting = profile(PROFILE)
setting

# %% [markdown]
# ## Three parts
# `sam_nano` is put together from `segment_anything`'s own classes, the ones that make
# ViT-B, the smallest of the real three; only sizes and weights are a toy's. Where are
# its parameters?

# %%
sam = load_sam(setting.model).to(setting.device)
{name: sum(p.numel() for p in part.parameters()) for name, part in sam.named_children()}

# %% [markdown]
# Most of them are in the image encoder. Follow the shapes:

# %%
figures.three_parts(sam)

# %% [markdown]
# Image and prompt meet only in the decoder, at the very end. The embedding, which is
# most of the work, comes from the image alone.

# %% [markdown]
# ## From a photograph to tokens
# The encoder takes one square, S pixels a side. Guess how a photograph becomes one:
# the longest side is resized to S, colours are normalised, zeros fill what is
# missing. If the guess is right, the encoder must give what `SamPredictor` computes,
# bit for bit.

# %%
photo = getattr(skimage.data, PHOTO)()
predictor = SamPredictor(sam)
predictor.set_image(photo)
features = predictor.features  # B C h w: the image embedding
resized = predictor.transform.apply_image(photo)  # longest side becomes S
shown = torch.tensor(resized, device=sam.device).permute(2, 0, 1)[None]
pixels = sam.preprocess(shown.float())
assert torch.equal(sam.image_encoder(pixels), features)
photo.shape, resized.shape, tuple(pixels.shape), tuple(features.shape)

# %% [markdown]
# It does. The encoder begins by cutting the square into patches, with a convolution
# whose stride is as large as its kernel. Can we do without the convolution?

# %%
embed = sam.image_encoder.patch_embed
tokens = embed(pixels)  # B H W C: channels last, here and in all blocks
patches = F.unfold(pixels, embed.proj.kernel_size, stride=embed.proj.stride)
by_hand = patches.mT @ embed.proj.weight.flatten(1).T + embed.proj.bias
assert torch.allclose(by_hand, tokens.flatten(1, 2), atol=1e-4)
tuple(patches.shape), tuple(tokens.shape)

# %% [markdown]
# Yes: it is one linear map, from all numbers of a patch to one vector, its token, and
# the same for every patch. The inside of a patch is flattened here, once, and never
# looked at again at a finer scale. A learned vector for its place is added to each
# token; then come the blocks.

# %% [markdown]
# ## Windows
# Attention among all tokens is expensive, so most blocks attend inside square
# windows; the few others are called global.
#
# > **Predict first.** One token passes through one block. How many tokens of the
# > input can change its output, in a windowed block and in a global one?


# %%
def reach(block):
    """How many input tokens have a gradient on the one output token."""
    x = tokens.clone().requires_grad_()
    y = block(x)[0][token]
    (y * torch.randn_like(y)).sum().backward()  # plain sums of channels may cancel
    return int((x.grad[0].abs().sum(-1) > 0).sum())


blocks, side = sam.image_encoder.blocks, tokens.shape[1]
token = tuple(int(share * side) for share in TOKEN)
windowed = next(block for block in blocks if block.window_size > 0)
whole = next(block for block in blocks if block.window_size == 0)
{"windowed": reach(windowed), "global": reach(whole), "all tokens": side * side}

# %% [markdown]
# What has no gradient is not heard, short of effects that cancel exactly: a windowed
# block shows a token its window and nothing else. On the photograph:

# %%
figures.token_grid(predictor, photo, token)

# %% [markdown]
# Thin lines separate tokens, thick lines windows; what is black at the bottom or
# right is padding, and it is made of tokens too. What does the red token attend to?

# %%
figures.attention(predictor, photo, token)

# %% [markdown]
# Attention weights sum to 1 in either map, over one window or over all tokens,
# padding included. "Spread over" counts tokens: equal weights on so many would have the
# same entropy. Where a kernel runs, a slider takes the token along its row: watch the
# left map jump at the border. How does the code keep windows apart?

# %%
from segment_anything.modeling.image_encoder import window_partition

windows, _ = window_partition(windowed.norm1(tokens), windowed.window_size)
tuple(tokens.shape), tuple(windows.shape)

# %% [markdown]
# It moves them into the batch: `B H W C` becomes `B·n w w C`. Whatever we put inside
# the block, be it a convolution, takes every window for a picture of its own and will
# not see across the thick lines.

# %% [markdown]
# ### Exercise 1.1 - cut into windows, and restore
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `F.pad`, `reshape` and `permute`
#
# The map need not be a multiple of the window (ViT-B: 64 tokens, windows of 14). Fill
# up with zeros below and to the right; drop them on the way back.


# %%
def cut(x, window):
    """Tokens `B H W C` -> windows `B·n window window C`, row by row, zero-padded."""
    raise NotImplementedError("Exercise 1.1")


def restore(windows, window, height, width):
    """Windows `B·n window window C` -> tokens `B height width C`, padding dropped."""
    raise NotImplementedError("Exercise 1.1")


# %%
checks.ex_1_1(cut, restore)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `-H % window` rows are missing below. `F.pad` counts axes from the last one
# backwards, and the last one is C.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Split H into (windows, window), W likewise. Then bring both window counts in front
# of both window sides before you merge them into the batch.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def cut(x, window):
#     x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
#     b, h, w, c = x.shape
#     x = x.reshape(b, h // window, window, w // window, window, c)
#     return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window, window, c)
#
#
# def restore(windows, window, height, width):
#     rows, columns = -(-height // window), -(-width // window)
#     x = windows.reshape(-1, rows, columns, window, window, windows.shape[-1])
#     x = x.permute(0, 1, 3, 2, 4, 5)
#     x = x.reshape(-1, rows * window, columns * window, x.shape[-1])
#     return x[:, :height, :width]
# ```
#
# Swapping axes 2 and 3 undoes itself, so both functions have the same `permute`.
# Leave it out of both and the round trip still succeeds, with windows that are
# scrambled inside: that is why the check compares the windows themselves with SAM's.
# </details>

# %% [markdown]
# ## What windows save
# Multiply-adds (MACs) can be counted exactly, operation by operation.


# %%
def multiply_adds(function, *inputs):
    """Multiply-adds of one call."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops() // 2


{"windowed": multiply_adds(windowed, tokens), "global": multiply_adds(whole, tokens)}

# %% [markdown]
# The Linears cost nearly the same in both. Nearly all the rest is products between
# tokens that meet, and that part grows fastest with the map:

# %% [markdown]
# ### Exercise 1.2 - count what windows save
# Difficulty 2 of 5 ·
# importance 3 of 5 ·
# 5 minutes ·
# use the sizes of `q @ k.T` and of `weights @ v`
#
# How many multiply-adds are these two products, in windows and on the whole map?


# %%
def attention_macs(side, window, dim):
    """Multiply-adds of `q @ k.T` and `weights @ v`, all heads, side x side tokens.

    window: tokens a side, 0 for the whole map; dim: channels of all heads together.
    """
    raise NotImplementedError("Exercise 1.2")


# %%
checks.ex_1_2(attention_macs)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# If n tokens meet, `q @ k.T` has n x n entries for each head. Heads share `dim` among
# themselves, so how many there are drops out.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Padded tokens are multiplied as well: round the number of windows up.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def attention_macs(side, window, dim):
#     window = window or side
#     windows = (-(-side // window)) ** 2
#     return windows * 2 * (window * window) ** 2 * dim
# ```
#
# The cost grows with the square of the number of tokens that meet, so many small
# meetings are cheaper than one large one. Try `attention_macs(64, 0, 768)` against
# `attention_macs(64, 14, 768)`: ViT-B at 1024 pixels.
# </details>

# %% [markdown]
# ## Prompts become tokens
# A click is a coordinate and a label: 1 for "this", 0 for "not this". What does the
# prompt encoder make of it?

# %%
click = np.array([CLICK]) * photo.shape[1::-1]  # x, y in pixels of the photograph
place = predictor.transform.apply_coords(click, photo.shape[:2])  # of the input
points = [torch.tensor(x, device=sam.device)[None].float() for x in (place, [1])]
sparse, dense = sam.prompt_encoder(points=points, boxes=None, masks=None)
tuple(sparse.shape), tuple(dense.shape)

# %% [markdown]
# `sparse` holds two tokens: the click, and one that says "no box comes with it".
# `dense` is as large as the embedding and is added to it; it carries a drawn mask, or
# the learned vector for "no mask". How much work is left for the decoder?

# %%
positions = sam.prompt_encoder.get_dense_pe()  # where each place of the embedding is
{
    "encoder": multiply_adds(sam.image_encoder, pixels),
    "decoder": multiply_adds(
        sam.mask_decoder, features, positions, sparse, dense, True
    ),
}

# %% [markdown]
# A small part. So SAM encodes a photograph once and answers every click from the same
# embedding:

# %% tags=["nbval-ignore-output"]
figures.click(predictor, photo, places=[CLICK, (0.68, 0.57), (0.4, 0.7)])

# %% [markdown]
# One embedding, many clicks: no encoder ran between them.
#
# ## The same model, with gradients
# `SamPredictor` computes without gradients and decodes one image at a time. For
# training, `Segmenter` calls the same three parts on a batch. Is it still SAM? Compare
# logits, the decoder's numbers, one a mask pixel: above 0 a pixel is in the mask.

# %% tags=["nbval-ignore-output"]
model = Segmenter(sam)
with torch.no_grad():
    low, iou = model.decode(features, points, multimask=True)
masks, scores, official = predictor.predict(click, np.ones(1), return_logits=True)
gap = np.abs(low[0].cpu().numpy() - official).max()
assert gap < 1e-4 and np.allclose(iou[0].cpu(), scores, atol=1e-4)
float(gap)  # of logits

# %% [markdown]
# It is, up to rounding. From here on we may train it.

# %% [markdown]
# ## One click, three answers
# A click on a cup can mean the coffee, the cup, or the cup with its saucer. SAM does
# not average: it draws three masks, and for each predicts the IoU (intersection over
# union) with what was meant.

# %%
figures.ambiguity(predictor, photo, click)

# %% [markdown]
# A predicted IoU is a guess, made by a small head of the decoder without any truth at
# hand. Adapt the masks to other data, leave that head as it is, and its guess is
# stale.

# %% [markdown]
# ## What the grid leaves
# The decoder draws on a coarse grid, four mask pixels along the side of a token, and
# the drawing is enlarged. Are the outlines too fine for that? Take the *true* mask,
# shrink it to the decoder's grid, enlarge it, and take its IoU with itself before. On
# one image of each of the workbook's domains:

# %%
samples = {name: open_data(name, setting, seed=SEED).test[0] for name in DOMAINS}
{n: round(shrunk_iou(s.mask > 0, low.shape[-1]), 3) for n, s in samples.items()}

# %% [markdown]
# What is missing to 1 was lost on the way to the grid and back; small and thin things
# lose most. So recorded runs carry this number beside them. It is a yardstick, not a
# bound: logits may be any numbers, and the right ones place an edge between two mask
# pixels. `ceilings.ceiling` fits such logits to the true mask; `evaluate` prints that bound.

# %% [markdown]
# ### Exercise 1.3 - bug hunt: clicks that miss
# Difficulty 1 of 5 ·
# importance 5 of 5 ·
# 5 minutes ·
# use an object that is far from the middle
#
# To train or to measure, clicks are made from masks. This function was tried on a
# centred object in a square image and shipped. Where does it click here?


# %%
def click_on(mask):
    """A click `x, y` at the centre of an object's mask `H W`."""
    first, second = np.nonzero(mask)
    return np.array([first.mean(), second.mean()])


y, x = np.ogrid[:90, :160]
disc = np.hypot(y - 60, x - 30) < 20
{
    "x, y of the click": click_on(disc),
    "hit": bool(disc[tuple(click_on(disc).astype(int))]),
}


# %%
def click_mended(mask):
    """A click `x, y` at the centre of an object's mask `H W`."""
    raise NotImplementedError("Exercise 1.3")


# %%
checks.ex_1_3(click_mended)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Arrays are indexed row first. What comes first in a click?
# </details>
#
# <details><summary>Hint 2</summary>
#
# "hit" was computed with `mask[click]`, which repeats the mistake and hides it.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def click_mended(mask):
#     rows, columns = np.nonzero(mask)
#     return np.array([columns.mean(), rows.mean()])
# ```
#
# Arrays say (row, column), SAM says (x, y), and both are two numbers: no error, only
# masks of the wrong thing. Centred objects hide the swap, and so does a test that
# indexes with the same swap. Public code that trains SAM by clicks has shipped this
# bug.
# </details>

# %% [markdown]
# ## No prompt at all
# From the next lesson on nobody clicks. The decoder gets the embedding and the "no
# mask" vector, and `sparse` is empty.
#
# > **Predict first.** Nobody says what is wanted. What will SAM outline?

# %%
some = list(samples.values())[:4]
drawn = predict(model, some)
overlap = [dice(m > 0, sample.mask > 0) for m, sample in zip(drawn, some, strict=True)]
figures.show_masks(
    [sample.image for sample in some],
    drawn,
    [sample.mask for sample in some],
    overlap,
    f"Without a prompt SAM takes too much or misses: mean Dice {np.mean(overlap):.2f}",
)

# %% [markdown]
# Blue is what SAM draws, yellow the truth of four special kinds of image. Of the
# polyp and the ill spots it takes a good part, and much else that stands out beside
# them; of the vessels and the camouflaged shape hardly anything. In pre-training a
# prompt always said what was wanted, and here nothing does. Where the question is
# always the same ("where is the polyp?"), training can put it into the weights.
#
# ## Where an adapter will sit
# Which weights? In every block one Linear, `qkv`, makes queries, keys and values at
# once. What does it receive?


# %%
def qkv_input(block):
    """Shape of what the block's fused Linear gets."""
    seen = []
    hook = block.attn.qkv.register_forward_pre_hook(
        lambda _, x: seen.append(tuple(x[0].shape))
    )
    sam.image_encoder(pixels)
    hook.remove()
    return seen[0]


[qkv_input(block) for block in blocks]

# %% [markdown]
# Pictures, channels last: the whole map in global blocks, windows in the others.
# There is no class token, so `permute(0, 3, 1, 2)` is all that a convolution needs.
# LoRA adds a narrow detour beside this Linear: one matrix goes down from C to a few
# channels, the rank; a second one goes up to the output.
#
# > **Predict first.** With a new detour in one block, before any training, how far is
# > the image embedding from the one that SAM computed?

# %%
qkv, dim, rank = windowed.attn.qkv, windows.shape[-1], 4
down, up = torch.randn(rank, dim).to(windows), torch.zeros(3 * dim, rank).to(windows)
hook = qkv.register_forward_hook(lambda _, x, y: y + x[0] @ down.T @ up.T)  # detour
moved = (sam.image_encoder(pixels) - features).abs().max()
hook.remove()
assert moved == 0
float(moved)

# %% [markdown]
# Zero, not merely small: the second matrix starts at zero, so training starts from SAM
# itself.

# %% tags=["nbval-ignore-output"]
record(
    windowed_sees=reach(windowed),
    global_sees=reach(whole),
    prompt_free_dice=float(np.mean(overlap)),
)

# %% [markdown]
# ## Recap
# *How much has SAM decided before you click?* All that the encoder does: patches,
# windows, embedding. A click only chooses from it.
# - Three parts: an image encoder, a prompt encoder, and a decoder in which they meet.
# - Windows live in the batch dimension; cutting and restoring loses nothing.
# - A token sees its window in most blocks and the whole map in a few.
# - Three masks answer one click; predicted IoU ranks them, and the shrunk mask says how
#   fine their outlines are for the decoder's grid.
# - LoRA sits at the fused qkv, whose input is a channels-last picture; with its
#   second matrix at zero nothing changes.
#
# ## In practice
# - With the real SAM at 1024 pixels, nearly all waiting is for the encoder. Encode
#   once, keep the embedding, click as often as you like.
# - `Sam.forward` runs under `no_grad`: a training loop around it learns nothing. Call
#   the three parts, as `Segmenter` does.
# - `sam_nano` squeezes a photograph into few tokens. Its masks are a toy's; its
#   classes and shapes are not.
#
# **Try it on your own data:** set `photo` to any RGB array, `H W 3` in 0 to 255.
#
# ## Further reading
# - [Segment Anything](https://arxiv.org/abs/2304.02643): the model and how ambiguity
#   and predicted IoU are trained (section 3 and appendix A).
# - [Its code](https://github.com/facebookresearch/segment-anything): after this
#   lesson you can read `modeling/image_encoder.py` from top to bottom.
# - [ViTDet](https://arxiv.org/abs/2203.16527): why a plain ViT with a few global
#   blocks is enough for dense prediction; SAM's encoder comes from here.
#
# Next: something is put at that Linear, trained, and searched, all of it as a black
# box.
#
# [<- 00](00_start_here.ipynb) | [index](README.md) | [02 ->](02_adapt_end_to_end.ipynb)
