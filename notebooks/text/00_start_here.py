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
# > Click on a photograph and get a mask. Then watch the same model learn to find one
# > kind of thing without any click, through a small part beside it, an adapter, that
# > chose its own operators.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/00_start_here.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/00_start_here.ipynb)
#
# **Cost** 28 s · 0.9 GB, profile `smoke`, measured on AMD EPYC (2 cores)

# %% [markdown]
# **The question:** a model outlines whatever you click on. What does it lack for one
# special kind of image, and how little must be trained to give it that?
#
# **You will build** the whole story of this workbook in one figure.
#
# **You will be able to**
# - get a mask from a click and from a box;
# - run the whole method, from images to masks, in three lines;
# - measure a mask by its Dice, and name the two numbers that belong beside it;
# - use profiles, exercises and checks, which are the same in every lesson.
#
# | you need | where | minutes |
# |---|---|---|
# | Python, and a first acquaintance with PyTorch | any introduction | - |
# | nothing about SAM, LoRA or architecture search | here | 20 |

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
from naslora_workbook.lessons.headline import record
from naslora_workbook.publishing.machine import machine
from scipy import ndimage

from naslora_core import NASLoRA, adapt, evaluate, fit, load_sam
from naslora_core.adapters import cells
from naslora_core.data import open_data
from naslora_core.sam import SamPredictor, Segmenter
from naslora_core.training.metrics import dice
from naslora_core.training.prompts import box_of, components

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
PHOTO = "coffee"  # any colour photograph that scikit-image packages
CLICK = (0.5, 0.33)  # x and y, as shares of the photograph
BOX = (0.31, 0.04, 0.73, 0.56)  # left, top, right, bottom, likewise

# %% [markdown]
# ## What each setting decides
# `PROFILE` says how much of everything a lesson uses: the same code on less or more
# data. `SEED` draws the images, the adapter's start and the order of training.
# `PHOTO`, `CLICK` and `BOX` are for you to change. All are choices, none is a result.

# %%
setting = profile(PROFILE)
setting

# %% [markdown]
# And this is where it runs. Nothing below needs a graphics card.

# %% tags=["nbval-ignore-output"]
machine(setting.device)

# %% [markdown]
# ## Click on a photograph
# SAM, the Segment Anything Model, outlines what you point at. Its encoder, a stack of
# transformer blocks, turns an image into tokens, one vector a patch; from them its
# decoder draws the mask that a prompt asks for. `load_sam` gives it to you, frozen; it
# computes on `setting.device`, a graphics card only where the profile wants one. How
# many parameters has this one?

# %%
sam = load_sam(setting.model).to(setting.device)
sam.model_name, sum(p.numel() for p in sam.parameters())

# %% [markdown]
# `sam_nano` is the real SAM's classes, block for block, at a small fraction of its
# size, trained on drawings that a program made. It has never seen a photograph. Show
# it one:

# %%
photo = getattr(skimage.data, PHOTO)()
predictor = SamPredictor(sam)
predictor.set_image(photo)
click = np.array([CLICK]) * photo.shape[1::-1]  # x, y in pixels
box = np.array(BOX) * (2 * photo.shape[1::-1])  # x0, y0, x1, y1 in pixels
three, scores, _ = predictor.predict(click, np.ones(1))  # masks, predicted quality
one, _, _ = predictor.predict(box=box, multimask_output=False)

# %% [markdown]
# A click gets three masks, each with a guess of its quality, for a click is
# ambiguous; a box gets one. Look at the best guess and at the box's mask:

# %%
figures.show_masks(
    [photo, photo],
    [three[scores.argmax()], one[0]],
    points=[(click, [1]), None],
    boxes=[None, box],
    title="A click or a box is the question, a mask is the answer",
)

# %% [markdown]
# Green is the prompt, blue the answer. The click gets most of the coffee, the box the
# inside of the cup with a hole in it. The answers of a toy are rough, but they are
# answers, from a model that has seen drawings alone. Your turn:

# %% tags=["nbval-ignore-output"]
figures.click(predictor, photo, places=[CLICK, (0.68, 0.57), (0.4, 0.7)])

# %% [markdown]
# With a running kernel the last cell takes your clicks. A page made by `make workbook`
# keeps a grid of them and shows the nearest (or Tab, then arrow keys). Elsewhere you
# see three: the coffee; much of the saucer; and, for a click on the handle, a large
# piece of cup, saucer and shadow.

# %% [markdown]
# ## One special kind of image
# Now imagine ten thousand images, all with the same question. The workbook draws such
# domains itself, so that nothing has to be downloaded. Here: leaves, and in yellow the
# truth, an outline of what is ill. Mud, holes and litter are as brown.

# %%
data = open_data("leaf", setting, seed=SEED)
figures.contact_sheet(data.train[:4], "Not all that is brown is ill", columns=4)

# %% [markdown]
# Nobody will click ten thousand times. How good is SAM with a box around each ill
# part (specks left out), and how good with no prompt at all, as `Segmenter` calls it?
# The measure is Dice, the overlap of mask and truth: 1 is perfect, 0 a miss.

# %%
boxed = evaluate(sam, data.test, prompt="box")
unprompted = evaluate(Segmenter(sam), data.test)
found = {"no prompt": unprompted, "box": boxed}
{name: round(scores.mean["dice"], 3) for name, scores in found.items()}

# %% [markdown]
# The box tells SAM where to look, and somebody had to draw it. Without it SAM does
# not know what is wanted. These are the two numbers that belong beside every result
# here.
#
# ## The whole story
# LoRA leaves the encoder frozen and puts two thin matrices beside one Linear of each
# block: down to a few channels, and up again. NAS-LoRA (NAS: neural architecture
# search) puts a cell between them, in which operators compete: none, skip,
# convolutions, pooling. A cell adds up what they answer, each times its probability.
# Training learns the operators' weights, and with them the probabilities.
#
# > **Predict first.** A short training on a few images, no prompt: will Dice end
# > nearer to "no prompt" or nearer to "box"? Write down a number.

# %%
model = adapt(sam, NASLoRA(rank=4), seed=SEED)
trained = {name: tensor.numel() for name, tensor in model.trainable().items()}
in_cells = sum(n for name, n in trained.items() if "image_encoder" in name)
in_decoder = sum(trained.values()) - in_cells
share = in_decoder / sum(p.numel() for p in sam.parameters())
{"in the cells": in_cells, "in the decoder": in_decoder, "of SAM": f"{share:.0%}"}

# %% [markdown]
# A copy of the mask decoder is trained beside the cells, and it is the larger part by
# far; the last number is its share of SAM's parameters. Keep that in mind whenever
# something is called parameter-efficient. Now train:

# %% tags=["nbval-ignore-output"]
result = fit(
    model,
    data,
    steps=setting.steps,
    batch=setting.batch,
    seed=SEED,
    progress=False,
    on_event=figures.LivePlot(),  # draws itself while a person watches
)
adapted = evaluate(model, data.test)
found["no prompt, adapted"] = adapted
{name: round(scores.mean["dice"], 3) for name, scores in found.items()}

# %% [markdown]
# How far is your number from the last one? That was all of it: `adapt`, `fit`,
# `evaluate`. One figure shows what came out, on the test image whose Dice is the
# median, not on the best one.

# %% tags=["nbval-ignore-output"]
i = adapted.median_image
shown = data.test[i]
figures.story(
    shown.image,
    shown.mask,
    [box_of(part) for part in components(shown.mask > 0)],
    boxed.masks[i],
    adapted.masks[i],
    (boxed.dice[i], adapted.dice[i]),
    result.genotype,
    {name: cell.kernel().detach() for name, cell in cells(model).items()},
)

# %% [markdown]
# Above: the image; SAM's mask for boxes; the adapted model's mask for no prompt at
# all. Below: a row for every block, a colour for every operator (`sep` is a convolution
# in two cheaper steps, `dil` one with gaps; sizes are in tokens). The first row is the
# uniform start, and how far the others have moved from it is how much this short
# search has decided. All operators of a cell add up to one kernel, and the little
# squares show where it looks: the centre is the token itself, which plain LoRA sees
# too, and the rest is its neighbours. The names on the right are a second reading of
# the same search, explained in [02](02_adapt_end_to_end.ipynb).
#
# Do not believe it yet: one seed, few images, one domain, and plain LoRA is not
# beside it. The lessons that follow are about what it takes to believe it, or not to.

# %% [markdown]
# ## How a lesson works
# | you meet | it means |
# |---|---|
# | a grey box, **Predict first** | write your guess down before you run the next cell |
# | `PROFILE` | `smoke`: quick; `laptop`: more data and steps; `gpu`: the real SAM (hours on a processor) |
# | an exercise | a stub for you, a check below it, hints and solution folded |
# | "not attempted yet" | a stub stops nothing: Run All always works |
# | `checks.report()` | every exercise, and what you have solved so far |
# | yellow, blue, green | truth, prediction, prompt |
#
# Two exercises to try it out.

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
    """Dice of two boolean masks `H W`, in 0..1; two empty masks have Dice 1."""
    raise NotImplementedError("Exercise 0.1")


# %%
checks.ex_0_1(my_dice)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `(prediction & truth).sum()` counts the pixels that both have.
# </details>
#
# <details><summary>Hint 2</summary>
#
# If both are empty the fraction is 0 / 0: decide before you divide.
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
# Dice ignores the background, so a small object cannot be missed unnoticed, as it
# could with accuracy: if 2 % of an image are ill, an empty mask is 98 % accurate and
# has Dice 0.
# </details>

# %% [markdown]
# ### Exercise 0.2 - bug hunt: a drawing that changes the truth
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 5 minutes ·
# look at what `rim` does to its argument
#
# This function returns the rim of a mask, one pixel wide, to be drawn over an image.
# The rim is right. And yet:


# %% tags=["nbval-ignore-output"]
def rim(truth):
    """The pixels of a mask `H W` that touch its border."""
    truth[ndimage.binary_erosion(truth)] = False
    return truth


prediction, truth = adapted.masks[i] > 0, shown.mask > 0
before = dice(prediction, truth)
rim(truth)
{"Dice before drawing": before, "Dice after drawing": dice(prediction, truth)}

# %% [markdown]
# Looking at the truth has changed the score. Write a rim that only looks.


# %%
def my_rim(truth):
    """The pixels of a mask `H W` that touch its border; `truth` stays as it is."""
    raise NotImplementedError("Exercise 0.2")


# %%
checks.ex_0_2(my_rim)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# A function gets the array itself, not a copy of it.
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
# The bug raises nothing and the figure looks right; only numbers computed *after* the
# figure are wrong. It has been shipped in public code that adapts SAM. When a score
# depends on whether a plot was drawn, look for an assignment into an array.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    dice_box=boxed.mean["dice"],
    dice_no_prompt=unprompted.mean["dice"],
    dice_adapted=adapted.mean["dice"],
)

# %% [markdown]
# ## Recap
# *What does SAM lack for one special kind of image, and how little gives it that?* It
# lacks the question: prompt-free, it does not know what is wanted. With the encoder
# frozen, small cells and the decoder learn that; how well, the table above says for
# this run.
# - A click or a box gives a mask from a SAM that was never told what a cup is.
# - `adapt`, `fit`, `evaluate` are the whole method; the base stays as it was.
# - Dice with a box and Dice without a prompt frame every result.
# - Profiles change the amount, never the code; a check compares your answer with a
#   reference.
#
# ## In practice
# - `sam_nano` is a toy: real classes, toy weights. It teaches mechanisms and runs in
#   minutes; it is no substitute for the real SAM on your images.
# - Leaves were chosen because a short run shows something there; the polyps of lesson
#   02 are harder in as short a run. No drawn domain stands for the world: recorded
#   runs on real images stand beside them from lesson 02 on.
# - Numbers differ a little between processors. Sentences here do not depend on such
#   digits.
#
# **Try it on your own data:** a folder with `images/` and `masks/` of the same names,
# and `make workbook DATA=that_folder`.
#
# ## Further reading
# - [Segment Anything](https://arxiv.org/abs/2304.02643): the model that you have just
#   clicked with, and the data that made the large one good.
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the paper whose idea this workbook
#   takes apart, rebuilds and measures.
# - [Segment Anything, the
#   code](https://github.com/facebookresearch/segment-anything): the classes that
#   `sam_nano` is made of.
#
# Next: what happened between the click and the mask?
#
# <- | [index](README.md) | [01 ->](01_see_sam.ipynb)
