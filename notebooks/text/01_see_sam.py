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
# > A photograph and a click go in, and a mask comes out. This lesson opens the model in
# > between. It ends at the one Linear layer of every block beside which LoRA is placed.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/01_see_sam.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/01_see_sam.ipynb)
#
# **Cost** 8 s · 0.6 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [00](00_start_here.ipynb).

# %% [markdown]
# **The question:** how much has SAM already computed about a picture before you click?
#
# **You will build** the way from pixels to masks out of SAM's own three parts. At each step
# you check that `SamPredictor`, SAM's own class for clicks and boxes, computes the same.
#
# **You will be able to**
# - name SAM's three parts and the shapes of what one part gives to the next;
# - cut a token map into windows and put it back together, padding included;
# - say which tokens a block lets interact, and prove it with a gradient;
# - read three masks with their predicted IoU, and what the decoder's grid leaves of an outline;
# - point at the Linear that LoRA wraps, and give the shape of its input.
#
# | you need | where | minutes |
# |---|---|---|
# | PyTorch: modules, hooks, `B C H W` | any introduction | - |
# | attention: queries, keys, values, heads | any introduction | - |
# | what a click and a box do | [00](00_start_here.ipynb) | 45 |

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
from naslora_core.training.ceilings import ceiling, grid_of, shrunk_iou
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
# `PROFILE` chooses the model and the size of its input. `SEED` chooses the sample images
# near the end. `PHOTO`, `CLICK` and `TOKEN` are for you to change.

# %%
setting = profile(PROFILE)
setting

# %% [markdown]
# ## Three parts
# `sam_nano` is built from the classes of `segment_anything`, the same classes that make
# ViT-B, the smallest real SAM. It is much smaller, and it was trained on drawn scenes only.
# Where are its parameters?

# %%
sam = load_sam(setting.model).to(setting.device)
parts = dict(sam.named_children())
{name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}

# %% [markdown]
# Most parameters are in the image encoder. The diagram shows the shapes of what
# one part gives to the next:

# %%
figures.three_parts(sam)

# %% [markdown]
# Image and prompt meet only in the decoder. The image embedding depends on the image alone.

# %% [markdown]
# ## From a photograph to tokens
# The encoder takes one square image of S × S pixels. Three steps turn a photograph into
# it: the longest side is resized to S, the colours are normalised, and zeros fill the rest.
# If this is all, the encoder's output must equal that of `SamPredictor`, bit for bit:

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
# It does. The encoder first cuts the square into patches. It uses a convolution whose
# stride equals its kernel size. Here is the same without a convolution:

# %%
embed = sam.image_encoder.patch_embed
tokens = embed(pixels)  # B H W C: channels last, here and in all blocks
patches = F.unfold(pixels, embed.proj.kernel_size, stride=embed.proj.stride)
by_hand = patches.mT @ embed.proj.weight.flatten(1).T + embed.proj.bias
assert torch.allclose(by_hand, tokens.flatten(1, 2), atol=1e-4)
tuple(patches.shape), tuple(tokens.shape)

# %% [markdown]
# The results agree. So the patch embedding is one linear map: it turns all numbers of a
# patch into one vector, the token. The map is the same for every patch. From here on the
# model works with tokens, not with pixels. A learned vector for the position is added to
# each token, and then the blocks follow.

# %% [markdown]
# ## Windows
# Most blocks let tokens attend only to tokens in the same square window. A few *global*
# blocks let all tokens attend to one another.
#
# > **Predict first.** One token passes through one block. How many tokens of the input can
# > change its output, in a windowed block and in a global one?


# %%
def influencing(block):
    """How many input tokens have a gradient on the one output token."""
    x = tokens.clone().requires_grad_()
    y = block(x)[0][token]
    (y * torch.randn_like(y)).sum().backward()  # in plain sums channels may cancel
    return int((x.grad[0].abs().sum(-1) > 0).sum())


blocks, side = sam.image_encoder.blocks, tokens.shape[1]
token = tuple(int(share * side) for share in TOKEN)
windowed = next(block for block in blocks if block.window_size > 0)
whole = next(block for block in blocks if block.window_size == 0)
{
    "windowed": influencing(windowed),
    "global": influencing(whole),
    "all tokens": side * side,
}

# %% [markdown]
# A token with zero gradient cannot influence the output. So a windowed block uses only the
# tokens of one window. On the photograph:

# %%
figures.token_grid(predictor, photo, token)

# %% [markdown]
# Thin lines separate tokens, thick lines separate windows. The black part at the bottom is
# padding, and padding is made of tokens too. On which tokens does the red token put its
# attention weights? Yellow stands for the largest weight:

# %%
figures.attention(predictor, photo, token)

# %% [markdown]
# In both maps the attention weights sum to 1: over one window on the left, over all tokens
# on the right. "Spread over n tokens" means that equal weights on n tokens would have the
# same entropy. In the global block some weight goes to the padding in the lower right
# corner: attention treats padding like any other token. Where a kernel runs, and on
# the pages of `make workbook`, a slider moves the token along its row. The left map then
# changes abruptly at the window's border.
#
# How does the code keep windows apart?

# %%
from segment_anything.modeling.image_encoder import window_partition

windows, _ = window_partition(windowed.norm1(tokens), windowed.window_size)
tuple(tokens.shape), tuple(windows.shape)

# %% [markdown]
# It moves the windows into the batch dimension: `B H W C` becomes `B·n w w C`. If the map's
# side is not a multiple of the window's, zeros fill up the last windows. Afterwards the same steps
# run backwards. The squares below are tokens, and the numbers are positions in the batch:

# %%
figures.windows_and_back(photo)

# %% [markdown]
# An operator inside the block, for example a convolution, treats each window as an image of
# its own. It cannot use tokens of another window.

# %% [markdown]
# ### Exercise 1.1 - cut into windows, and restore
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `F.pad`, `reshape` and `permute`
#
# The map need not be a multiple of the window (ViT-B: 64 tokens, windows of 14). Add zeros
# below and to the right. Remove them on the way back.


# %%
def cut(x, window):
    """Tokens `B H W C` -> windows `B·n window window C`, row by row, padded."""
    raise NotImplementedError("Exercise 1.1")


def restore(windows, window, height, width):
    """Windows `B·n window window C` -> tokens `B height width C`, unpadded."""
    raise NotImplementedError("Exercise 1.1")


# %%
checks.ex_1_1(cut, restore)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `-H % window` rows are missing below. `F.pad` counts axes from the last one backwards, and
# the last axis is C.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Split H into (windows, window), and W likewise. Then move both window counts before both
# window sides, and make one batch axis of them.
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
# Swapping axes 2 and 3 twice gives the start again, so both functions use the same
# `permute`. If both leave it out, the round trip still succeeds, but the windows are
# scrambled inside. So the check compares the windows themselves with SAM's.
# </details>

# %% [markdown]
# ## What windows save
# Multiply-adds (MACs) can be counted exactly, operation by operation. We count those of a
# windowed and a global block, of this model and of ViT-B at 1024 pixels:

# %%
from segment_anything.modeling.image_encoder import Block


def multiply_adds(function, *inputs):
    """Multiply-adds of one call."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops() // 2  # it counts a multiply-add as two


def vit_b_block(window):
    """Multiply-adds of a ViT-B block on 64 × 64 tokens."""
    with torch.device("meta"):  # shapes without numbers: counted, not computed
        options = {"use_rel_pos": True, "window_size": window, "input_size": (64, 64)}
        block = Block(768, 12, **options)  # 768 channels, 12 heads
        return multiply_adds(block, torch.empty(1, 64, 64, 768))


# %%
macs = {
    "sam_nano, windowed": multiply_adds(windowed, tokens),
    "sam_nano, global": multiply_adds(whole, tokens),
    "ViT-B, windowed": vit_b_block(14),
    "ViT-B, global": vit_b_block(0),
}
{name: f"{count / 1e9:.3f} billion" for name, count in macs.items()}

# %% [markdown]
# In `sam_nano` a global block costs 1.2 times as much as a windowed one (0.101 and 0.085
# billion), because its map has only 256 tokens. In ViT-B, with 4,096 tokens, it costs 1.7
# times as much (55.2 and 32.5 billion). The Linears cost nearly the same in both kinds of
# block. The difference is in two products between tokens. They grow with the square of the
# number of tokens that attend to one another.

# %% [markdown]
# ### Exercise 1.2 - count what windows save
# Difficulty 2 of 5 ·
# importance 3 of 5 ·
# 5 minutes ·
# use the sizes of `q @ k.T` and of `weights @ v`
#
# How many multiply-adds do these two products need, in windows and on the whole map?


# %%
def attention_macs(side, window, dim):
    """Multiply-adds of `q @ k.T` and `weights @ v`, side x side tokens.

    window: tokens a side, 0: the whole map; dim: channels of all heads together.
    """
    raise NotImplementedError("Exercise 1.2")


# %%
checks.ex_1_2(attention_macs)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# If n tokens attend to one another, `q @ k.T` has n x n entries for each head. The heads
# share `dim` among themselves, so their number does not matter.
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
# The cost grows with the square of the number of tokens in a window. So many small windows
# are cheaper than one large map. For ViT-B at 1024 pixels, `attention_macs(64, 0, 768)` is
# 25.8 billion and `attention_macs(64, 14, 768)` is 1.5 billion.
# </details>

# %% [markdown]
# ## Prompts become tokens
# A click is a coordinate and a label: 1 for "this", 0 for "not this". What does the prompt
# encoder return for it?

# %%
height, width = photo.shape[:2]
click = np.array([CLICK]) * [width, height]  # x, y in pixels of the photograph
place = predictor.transform.apply_coords(click, (height, width))  # x, y in the input
coordinates = torch.tensor(place, device=sam.device)[None].float()  # B points 2
labels = torch.ones(1, 1, device=sam.device)  # B points: 1 means "this"
points = coordinates, labels
sparse, dense = sam.prompt_encoder(points=points, boxes=None, masks=None)
tuple(sparse.shape), tuple(dense.shape)

# %% [markdown]
# `sparse` holds two tokens: the click, and one that means "there is no box". `dense` has
# the size of the embedding and is added to it. It holds a drawn mask, or a learned vector
# for "no mask". How much of the work does the decoder do?

# %%
positions = sam.prompt_encoder.get_dense_pe()  # a vector for each place of the map
given = features, positions, sparse, dense, True  # True: three masks
encoder = multiply_adds(sam.image_encoder, pixels)
decoder = multiply_adds(sam.mask_decoder, *given)
total = encoder + decoder
{"encoder": f"{encoder / total:.0%}", "decoder": f"{decoder / total:.0%}"}

# %% [markdown]
# For one click the encoder needs about 95 % of the multiply-adds, and the decoder about 5 %.
# SAM therefore encodes a photograph once, and answers every click from the same embedding.
# Click into the photograph, here or on the pages of `make workbook`: no click runs the encoder.
# (Where no kernel runs, the notebook shows three clicks.)

# %% tags=["nbval-ignore-output"]
figures.click(predictor, photo, places=[CLICK, (0.68, 0.57), (0.4, 0.7)])

# %% [markdown]
# ## The same model, with gradients
# `SamPredictor` computes without gradients and decodes one image at a time. For training,
# `Segmenter` calls the same three parts on a batch. Is it still SAM? We compare the
# *logits*: one number for each mask pixel, above 0 where the pixel belongs to the mask.

# %% tags=["nbval-ignore-output"]
model = Segmenter(sam)
with torch.no_grad():
    low, iou = model.decode(features, points, multimask=True)
_, quality, official = predictor.predict(click, np.ones(1), return_logits=True)
gap = np.abs(low[0].cpu().numpy() - official).max()
assert gap < 1e-4 and np.allclose(iou[0].cpu(), quality, atol=1e-4)
float(gap)  # of logits

# %% [markdown]
# The logits agree up to rounding. From here on the model can be trained.

# %% [markdown]
# ## One click, three answers
# A click is ambiguous: the user may want a part, an object, or a group of objects. SAM does
# not average over these. It draws three masks, and predicts for each its IoU (intersection
# over union) with the wanted mask.

# %%
figures.ambiguity(predictor, photo, click)

# %% [markdown]
# Here the first mask covers most of the coffee, and the second the inside of the cup. The
# third covers far more, parts of the table too, and has a low predicted IoU. The predicted
# IoU comes from a small head of the decoder. It learned in pre-training to guess the IoU
# with the true mask; here there is no true mask, so it is a guess. If you adapt the decoder
# to other data and leave this head unchanged, its guesses may be wrong.

# %% [markdown]
# ## The ceiling
# The decoder draws on a coarse grid: four mask pixels along the side of a token. The result
# is then enlarged. Is the grid fine enough for the true outlines? There are two ways to ask,
# here for one image of each domain of the workbook. `shrunk_iou` shrinks the *true* mask to
# the grid, enlarges it again, and computes its IoU with the original:

# %%
samples = {name: open_data(name, setting, seed=SEED).test[0] for name in DOMAINS}
truths = {name: sample.mask > 0 for name, sample in samples.items()}
grid = grid_of(model)  # 64 x 64 logits for 128 x 128 pixels
{name: round(shrunk_iou(mask, grid.side), 3) for name, mask in truths.items()}

# %% [markdown]
# Thin and small objects lose most: .945 for vessels means that a twentieth of the IoU is lost.
# But a shrunken mask is not the best use of the grid. The enlargement interpolates between the
# logits, so well-chosen logits can place an edge between two of them. `ceiling` fits the best
# logits to the true mask:

# %%
{name: round(ceiling(mask, grid), 3) for name, mask in truths.items()}

# %% [markdown]
# This is the *resolution ceiling* of [00](00_start_here.ipynb). It is 1 here, up to rounding:
# a grid of half the image's size could follow every outline. So on these images a model's errors
# do not come from the resolution of its masks.

# %% [markdown]
# ### Exercise 1.3 - bug hunt: clicks that miss
# Difficulty 1 of 5 ·
# importance 5 of 5 ·
# 5 minutes ·
# use an object that is far from the middle
#
# Training and evaluation need clicks that are computed from masks. This function was tested
# on a centred object in a square image only. Where does it click here?


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
def click_fixed(mask):
    """A click `x, y` at the centre of an object's mask `H W`."""
    raise NotImplementedError("Exercise 1.3")


# %%
checks.ex_1_3(click_fixed)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Arrays are indexed row first. What comes first in a click?
# </details>
#
# <details><summary>Hint 2</summary>
#
# "hit" was computed with `mask[click]`. This repeats the mistake and hides it.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def click_fixed(mask):
#     rows, columns = np.nonzero(mask)
#     return np.array([columns.mean(), rows.mean()])
# ```
#
# Array indices are (row, column), SAM's clicks are (x, y), and both are pairs of numbers.
# So there is no error message, only masks of the wrong object. A centred object hides the
# swap. A test that indexes with the same swap hides it too.
# </details>

# %% [markdown]
# ## No prompt at all
# From the next lesson on there is no click. The decoder receives the embedding and the "no
# mask" vector, and `sparse` is empty.
#
# > **Predict first.** Nobody says what is wanted. What will SAM outline?

# %%
some = [samples[name] for name in ("polyp", "vessel", "leaf", "camouflage")]
drawn = predict(model, some)
pairs = zip(drawn, some, strict=True)
overlap = [dice(mask > 0, sample.mask > 0) for mask, sample in pairs]
figures.show_masks(
    [sample.image for sample in some],
    drawn,
    [sample.mask for sample in some],
    overlap,
    "Without a prompt SAM takes too much, or misses the object",
)

# %% [markdown]
# Blue is SAM's mask, yellow the truth, of four special kinds of image. SAM finds much of
# the polyp and of the diseased spots, together with other things that stand out. It finds
# hardly anything of the vessels and of the camouflaged shape. In pre-training a prompt always
# said what was wanted; here there is no prompt. If the question is always the same ("where is
# the polyp?"), training can store it in the weights.
#
# ## Where an adapter will be placed
# Which weights? In every block one Linear, `qkv`, computes queries, keys and values. What
# is the shape of its input?


# %%
def qkv_input(block):
    """Shape of the input of the block's fused Linear."""
    shapes = []
    hook = block.attn.qkv.register_forward_pre_hook(
        lambda module, inputs: shapes.append(tuple(inputs[0].shape))
    )
    sam.image_encoder(pixels)
    hook.remove()
    return shapes[0]


[qkv_input(block) for block in blocks]

# %% [markdown]
# The inputs are images with the channels last: the whole map in global blocks, windows in
# the others. There is no class token. So `permute(0, 3, 1, 2)` is all that a convolution
# needs. LoRA adds a narrow path beside this Linear. One matrix goes down from C to a few
# channels (their number is the *rank*), and a second matrix goes up to the output.
#
# > **Predict first.** We add such a path to one block and do not train it. How far is the
# > new image embedding from SAM's?

# %%
dim, rank = tokens.shape[-1], 4
down = torch.randn(rank, dim).to(windows)
up = torch.zeros(3 * dim, rank).to(windows)


def add_path(module, inputs, output):
    """The Linear's output plus that of the narrow path."""
    return output + inputs[0] @ down.T @ up.T


hook = windowed.attn.qkv.register_forward_hook(add_path)
change = (sam.image_encoder(pixels) - features).abs().max()
hook.remove()
assert change == 0
float(change)

# %% [markdown]
# The difference is exactly zero, because the second matrix starts at zero. Training
# therefore starts from SAM itself.

# %% tags=["nbval-ignore-output"]
record(
    tokens_in_a_window=influencing(windowed),
    tokens_in_a_global_block=influencing(whole),
    prompt_free_dice=float(np.mean(overlap)),
)

# %% [markdown]
# ## Recap
# *How much has SAM already computed before you click?* Everything that the encoder computes,
# which is about 95 % of the multiply-adds of a first click. The other 5 % are the decoder's: it
# combines your click with the embedding.
# - SAM has three parts: an image encoder, a prompt encoder, and a decoder that combines
#   them.
# - Windows are moved into the batch dimension. Cutting and restoring loses nothing. In ViT-B a
#   global block needs 1.7 times the multiply-adds of a windowed one, in `sam_nano` 1.2 times.
# - A token interacts with its window in most blocks, and with the whole map in a few.
# - SAM answers one click with three masks, and predicts the IoU of each. The decoder's grid of
#   64 x 64 logits does not limit their outlines here.
# - LoRA is placed beside the fused qkv, whose input is an image with channels last. With
#   the second matrix at zero, the output does not change.
#
# ## In practice
# - In the real SAM at 1024 pixels the encoder's share of the multiply-adds is even larger.
#   Encode once, keep the embedding, and click as often as you like.
# - `Sam.forward` runs under `no_grad`, so a training loop around it learns nothing. Call
#   the three parts separately, as `Segmenter` does.
# - `sam_nano` is a toy, so its masks are rough. In the real SAM the steps are the same.
#
# **Try it on your own data:** set `photo` to any RGB array, `H W 3` in 0 to 255.
#
# ## Further reading
# - [Segment Anything](https://arxiv.org/abs/2304.02643): the model, and how ambiguity and
#   predicted IoU are trained (section 3 and appendix A).
# - [Its code](https://github.com/facebookresearch/segment-anything): after this lesson you
#   can read `modeling/image_encoder.py` from top to bottom.
# - [ViTDet](https://arxiv.org/abs/2203.16527): why a plain ViT with a few global blocks is
#   enough for dense prediction. SAM's encoder comes from here.
#
# Next: an adapter is placed at that Linear, trained and searched, first as a black box.
#
# [<- 00](00_start_here.ipynb) | [index](README.md) | [02 ->](02_adapt_end_to_end.ipynb)
