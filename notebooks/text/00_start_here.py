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
# # 00 · Start here
#
# > Click on a photograph and get a mask. Then train a small part beside the same model,
# > and watch it find one kind of object without any click.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/00_start_here.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/00_start_here.ipynb)
#
# **Cost** 28 s · 0.9 GB, profile `smoke`, measured on AMD EPYC (2 cores)

# %% [markdown]
# **The question:** SAM outlines whatever you click on. What does it lack for one special
# kind of image, and how little must be trained to add it?
#
# **You will build** the whole method of this workbook, from images to masks, and compare
# its masks with four simpler ways on the same images.
#
# **You will be able to**
# - get a mask from a click and from a box;
# - run the whole method in three lines;
# - measure a mask by its Dice, and name the numbers that belong beside it;
# - use profiles, exercises and checks, which are the same in every lesson.
#
# | you need | where | minutes |
# |---|---|---|
# | Python, and a first acquaintance with PyTorch | any introduction | - |
# | nothing about SAM, LoRA or architecture search | here | 45 |

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
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.ceiling import dice_ceiling
from naslora_workbook.lessons.headline import record
from naslora_workbook.publishing.machine import machine
from scipy import ndimage

from naslora_core import DecoderOnly, LoRA, NASLoRA, adapt, evaluate, fit, load_sam
from naslora_core.adapters import cells
from naslora_core.data import open_data
from naslora_core.sam import SamPredictor, Segmenter
from naslora_core.training.metrics import dice

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
PHOTO = "coffee"  # any colour photograph that scikit-image packages
CLICK = (0.5, 0.33)  # x and y, as shares of the photograph
BOX = (0.31, 0.04, 0.73, 0.56)  # left, top, right, bottom, likewise

# %% [markdown]
# The diagram shows what this page will train, beside one layer of SAM. Grey parts stay as
# they are, sand-coloured parts are trained. You need not understand it yet: the section "The
# whole method" explains its parts.

# %%
figures.growing_diagram("lora")

# %% [markdown]
# ## What each setting decides
# `PROFILE` says how many images and steps a lesson uses; the code stays the same. `SEED`
# fixes the images, the adapter's first weights and the order of training. `PHOTO`, `CLICK`
# and `BOX` are for you to change.

# %%
setting = profile(PROFILE)
setting

# %% [markdown]
# The next table shows the machine that runs this page, beside the machine on which the
# times and the memory of all lessons were measured. No graphics card is needed.

# %% tags=["nbval-ignore-output"]
machine(setting.device)

# %% [markdown]
# ## Click on a photograph
# SAM, the Segment Anything Model, outlines what you point at. It has two main parts. The
# *encoder*, a stack of transformer blocks, turns an image into *tokens*: one vector for
# each square patch of the image. The *decoder* draws the mask that your click or box asks
# for. `load_sam` returns the model with frozen weights. How many parameters does it have?

# %%
sam = load_sam(setting.model).to(setting.device)
{sam.model_name: sum(p.numel() for p in sam.parameters())}

# %% [markdown]
# `sam_nano` is a toy of 2.9 million parameters; the smallest released SAM, ViT-B, has 94
# million. The toy uses SAM's own classes, but it was trained on drawings made by a program.
# It has never seen a photograph. Here is its answer to one click and to one box:

# %%
photo = getattr(skimage.data, PHOTO)()
height, width = photo.shape[:2]
predictor = SamPredictor(sam)
predictor.set_image(photo)
click = np.array([CLICK]) * [width, height]  # x, y in pixels
box = np.array(BOX) * [width, height, width, height]  # x0, y0, x1, y1 in pixels

# %%
three, quality, _ = predictor.predict(click, np.ones(1))  # 1: "this", not "not this"
one, _, _ = predictor.predict(box=box, multimask_output=False)
best = three[quality.argmax()]

# %% [markdown]
# A click is ambiguous, so SAM returns three masks for it, each with a predicted quality. A
# box returns one mask. The figure shows the best of the three masks, and the box's mask:

# %%
figures.show_masks(
    [photo, photo],
    [best, one[0]],
    points=[(click, [1]), None],
    boxes=[None, box],
    title="SAM answers a click or a box with a mask",
)

# %% [markdown]
# Green is the prompt and blue is the mask. The click's mask covers most of the coffee. The
# box's mask covers the inside of the cup, with a hole. These masks are rough, as one can
# expect of a toy that was trained on drawings alone. Your turn:

# %% tags=["nbval-ignore-output"]
figures.click(predictor, photo, places=[CLICK, (0.68, 0.57), (0.4, 0.7)])

# %% [markdown]
# With a running kernel, the last picture takes your clicks. On a page made by `make
# workbook` it shows the nearest of a grid of stored clicks; the Tab and arrow keys work
# too. Elsewhere you see three examples: the coffee, much of the saucer, and a large piece
# of cup, saucer and shadow for a click on the handle.

# %% [markdown]
# ## One special kind of image
# Now imagine ten thousand images, all with the same question. The workbook draws such
# *domains* itself, so nothing has to be downloaded. This one shows leaves. The yellow
# outline is the truth: the diseased spots. Mud, holes and litter have the same brown; a
# diseased spot also has a dark rim, a dry centre and a pale yellow halo.

# %%
data = open_data("leaf", setting, seed=SEED)
title = "Not every brown spot is diseased"
figures.contact_sheet(data.train[:4], title, columns=4)

# %% [markdown]
# Nobody will click ten thousand times. How good is SAM with a box around every diseased
# part (very small specks are left out), and how good is it without any prompt? Without a
# prompt the model is called through `Segmenter`. The measure is *Dice*, the overlap of mask
# and truth: 1 is perfect, 0 means no overlap. All numbers are means over the test images.

# %%
boxed = evaluate(sam, data.test, prompt="box")
unprompted = evaluate(Segmenter(sam), data.test)
found = {"no prompt": unprompted, "box": boxed}
{name: round(scores.mean["dice"], 3) for name, scores in found.items()}

# %% [markdown]
# The boxes tell SAM where to look, but they are computed from the truth: in practice a
# person would have to draw them. Without a prompt SAM does not know which object is wanted.
#
# A third number is needed. The decoder draws only 64 x 64 numbers, which are enlarged to the
# image. How well could such a mask follow the true outline, if every number were ideal? We
# compute the best Dice on the first four test images:

# %%
ceiling = dice_ceiling(sam, data.test)
round(ceiling, 2)

# %% [markdown]
# This is the *resolution ceiling*. Here it is 1, so resolution limits nothing on these images.
# On a coarser grid, thin or very small objects would have a lower ceiling. Read every result of
# this workbook beside these three numbers: "no prompt", "box" (a box around every object) and
# the ceiling.
#
# ## The whole method
# The encoder stays frozen. Each of its blocks has one Linear layer, `qkv`, that feeds the
# attention. *LoRA* trains two thin matrices beside this layer: We goes down to a few
# channels, and Wd goes up again: this is the diagram at the top of the page. *NAS-LoRA* (NAS means neural architecture search) puts a
# *cell* between We and Wd:

# %%
figures.growing_diagram("nas_lora")

# %% [markdown]
# A cell holds several operators: none, skip, convolutions, pooling. It adds up their
# outputs, each multiplied by its probability (the bars of the diagram are an example).
# Training learns the weights of the operators and the probabilities at the same time.
# Later lessons build this diagram up piece by piece. How many numbers are trained?

# %%
model = adapt(sam, NASLoRA(rank=4), seed=SEED)
trained = {name: tensor.numel() for name, tensor in model.trainable().items()}
in_cells = sum(n for name, n in trained.items() if "image_encoder" in name)
in_decoder = sum(trained.values()) - in_cells
share = in_decoder / sum(p.numel() for p in sam.parameters())
{"in the encoder": in_cells, "in the decoder": in_decoder, "of SAM": f"{share:.0%}"}

# %% [markdown]
# The first number counts We, Wd and the cells between them. A copy of the mask decoder is
# trained together with them. It is by far the larger part: the last number is its share of
# all of SAM's parameters. Remember this whenever a method is called parameter-efficient.
#
# > **Predict first.** We train for 80 steps on 48 images, without a prompt. Will the Dice
# > end nearer to "no prompt" or nearer to "box"? Write down a number.

# %% tags=["nbval-ignore-output"]
budget = {"steps": setting.steps, "batch": setting.batch, "seed": SEED}
plot = figures.LivePlot()  # updates while a person watches
result = fit(model, data, **budget, progress=False, on_event=plot)
adapted = evaluate(model, data.test)
found["NAS-LoRA"] = adapted
{name: round(scores.mean["dice"], 3) for name, scores in found.items()}

# %% [markdown]
# Compare your number with the last one. This was the whole method: `adapt`, `fit`,
# `evaluate`.
#
# ### How much of the gain comes from the cells?
# Two simpler methods answer this. They train for the same number of steps on the same
# images. *Decoder-only* trains the decoder and nothing in the encoder. *LoRA* has no cell
# between its two matrices.

# %% tags=["nbval-ignore-output"]
simpler = {"decoder-only": DecoderOnly(), "LoRA": LoRA(rank=4)}
for name, method in simpler.items():
    other = adapt(sam, method, seed=SEED)
    fit(other, data, **budget, progress=False)
    found[name] = evaluate(other, data.test)
order = ("no prompt", "decoder-only", "LoRA", "NAS-LoRA", "box")
means = {name: round(found[name].mean["dice"], 3) for name in order}
means | {"resolution ceiling": round(ceiling, 3)}

# %% [markdown]
# All three trained models score higher than "no prompt". Training the decoder alone gives more
# than half of NAS-LoRA's gain. The rest of the gain comes from training beside `qkv` as well.
# LoRA, which has no cell, comes close to NAS-LoRA. Look at the masks too. The figure shows
# three test images around the median Dice of NAS-LoRA, not its best ones.

# %% tags=["nbval-ignore-output"]
by_dice = np.argsort(adapted.dice, kind="stable")
start = len(by_dice) // 2 - 1
assert means["no prompt"] < min(means[m] for m in order[1:4]) < means["box"]
figures.before_after(
    data.test,
    {name: found[name] for name in order},
    by_dice[start : start + 3],
    "Training adds much of what the boxes give",
)

# %% [markdown]
# Each row is one image. Yellow is the truth, blue the mask, green the boxes. Now read what
# the search has chosen:

# %% tags=["nbval-ignore-output"]
kernels = {name: cell.kernel().detach() for name, cell in cells(model).items()}
title = "After 80 steps the search has decided little: all bars are near equal"
assert max(max(b.probability) for b in result.genotype.blocks) < 0.25
figures.choices(result.genotype, kernels, title)

# %% [markdown]
# The figure has one row for each block and one colour for each operator. The length of a
# bar is the operator's probability. `sep` is a convolution in two cheaper steps, `dil` is
# one with gaps, and sizes are in tokens. In the first row, the start, all probabilities are
# equal. The other rows have hardly moved from it.
#
# All operators of a cell add up to one kernel, the small square on the right: the darker a
# place, the larger its weight. The centre is the token itself, which plain LoRA uses too.
# The other places are its neighbours. Here the centre is by far the darkest, so these cells
# work almost as LoRA does.
#
# Do not order the methods by this page: it shows one seed, few images and one domain. The
# lessons that follow show what evidence is needed to say which one is better.

# %% [markdown]
# ## How a lesson works
# | you meet | it means |
# |---|---|
# | a box, **Predict first** | write your guess down before you run the next cell |
# | `PROFILE` | `smoke`: quick; `laptop`: more data and steps; `gpu`: the real SAM (hours on a processor) |
# | an exercise | a stub for you, a check below it, hints and solution folded |
# | "not attempted yet" | an unanswered exercise does not stop the page: Run All always works |
# | `checks.report()` | every exercise, and which ones you have solved |
# | `record(...)` | the main numbers of the lesson, kept so that tests can compare a later run |
# | yellow, blue, green | truth, prediction, prompt |
#
# Try it with two exercises.

# %% [markdown]
# ### Exercise 0.1 - Dice of two masks
# Difficulty 1 of 5 ·
# importance 5 of 5 ·
# 5 minutes ·
# use `&` and `.sum()`
#
# $\mathrm{Dice}(A, B) = 2\,|A \cap B| \,/\, (|A| + |B|)$.


# %%
def my_dice(prediction, truth):
    """Dice of two boolean masks `H W`; two empty masks have Dice 1."""
    raise NotImplementedError("Exercise 0.1")


# %%
checks.ex_0_1(my_dice)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `(prediction & truth).sum()` counts the pixels that belong to both masks.
# </details>
#
# <details><summary>Hint 2</summary>
#
# If both masks are empty, the fraction is 0 / 0. Decide this case before you divide.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def my_dice(prediction, truth):
#     total = prediction.sum() + truth.sum()
#     return 2 * (prediction & truth).sum() / total if total else 1.0
# ```
#
# Dice ignores the background, so it notices when a small object is missed. Accuracy does
# not: if 2 % of an image are diseased, an empty mask has accuracy 98 % and Dice 0.
# </details>

# %% [markdown]
# ### Exercise 0.2 - bug hunt: a drawing that changes the truth
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 5 minutes ·
# look at what `rim` does to its argument
#
# This function returns the rim of a mask, one pixel wide, to be drawn over an image. The
# rim is right. But look at the Dice before and after the call:


# %% tags=["nbval-ignore-output"]
def rim(truth):
    """The pixels of a mask `H W` that touch its border."""
    truth[ndimage.binary_erosion(truth)] = False
    return truth


i = adapted.median_image
prediction, truth = adapted.masks[i] > 0, data.test[i].mask > 0
before = dice(prediction, truth)
rim(truth)
{"before": round(before, 3), "after": round(dice(prediction, truth), 3)}

# %% [markdown]
# Drawing the truth has changed the score. Write a rim that does not change its argument.


# %%
def my_rim(truth):
    """The pixels of a mask `H W` at its border; `truth` stays as it is."""
    raise NotImplementedError("Exercise 0.2")


# %%
checks.ex_0_2(my_rim)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A function receives the array itself, not a copy of it.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `a & ~b` makes a new array.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def my_rim(truth):
#     return truth & ~ndimage.binary_erosion(truth)
# ```
#
# The bug raises no error, and the figure looks right. Only numbers that are computed
# *after* the figure are wrong. Public code that adapts SAM has contained this bug. If a
# score depends on whether a plot was drawn, look for an assignment into an array.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    dice_box=boxed.mean["dice"],
    dice_no_prompt=unprompted.mean["dice"],
    dice_decoder_only=found["decoder-only"].mean["dice"],
    dice_adapted=adapted.mean["dice"],
)

# %% [markdown]
# ## Recap
# *What does SAM lack for one special kind of image?* It lacks the question: without a
# prompt it does not know which object is wanted.
#
# *How little must be trained?* NAS-LoRA trained 20,646 numbers in the encoder and 617,152 in
# the decoder. The encoder's own weights stayed frozen. Dice rose from .12 without a prompt to
# .64. Decoder-only trained the same 617,152 numbers in the decoder and none in the encoder. It
# reached .44. So decoder-only stands beside every result.
# - A click or a box gives a mask, even of objects that SAM has never seen.
# - `adapt`, `fit`, `evaluate` are the whole method. The base model is not changed.
# - A result is read beside three numbers: Dice without a prompt, Dice with boxes, and the
#   resolution ceiling.
# - A profile changes the amount of data and steps, never the code.
#
# ## In practice
# - `sam_nano` is a toy with real classes. It teaches how the parts work and runs in
#   minutes. It does not replace the real SAM on your images.
# - We chose leaves because a short run shows an effect there. The polyps of lesson 02 are
#   harder. From lesson 02 on, recorded runs on real photographs stand beside the drawn
#   domains.
# - Numbers differ a little between processors. The sentences here were written so that they
#   still hold.
#
# **Try it on your own data:** make a folder with `images/` and `masks/` of the same names,
# then run `make workbook DATA=that_folder`.
#
# ## Further reading
# - [Segment Anything](https://arxiv.org/abs/2304.02643): the model that you have just
#   used, and the data that made the large one good.
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the paper whose idea this workbook
#   rebuilds and measures.
# - [Segment Anything, the
#   code](https://github.com/facebookresearch/segment-anything): the classes of which
#   `sam_nano` is made.
#
# Next: what happens between the click and the mask?
#
# <- | [index](README.md) | [01 ->](01_see_sam.ipynb)
