"""Figures of the workbook: one theme, arrays in, a `Picture` with alt text out."""

from naslora_core.viz.click import click
from naslora_core.viz.comparison import comparison, source
from naslora_core.viz.curves import alpha_trajectories, losses
from naslora_core.viz.diagram import three_parts
from naslora_core.viz.landscape import landscape
from naslora_core.viz.live import LivePlot
from naslora_core.viz.masks import ambiguity, contact_sheet, overlay, show_masks
from naslora_core.viz.measure import paired_gains, pixels, roulette, scoreboard, watched, weighing
from naslora_core.viz.operators import operators
from naslora_core.viz.own import blame, learning, symptoms
from naslora_core.viz.panels import panel
from naslora_core.viz.picture import TEMPLATES, Picture
from naslora_core.viz.race import budgets, expressions, hits, race, turns, ways
from naslora_core.viz.rank import cut, spectrum, surviving
from naslora_core.viz.scales import fields, routes, stairs
from naslora_core.viz.shipping import borders, clock, discretised, unprompted
from naslora_core.viz.space import drift, gains, slid, supports
from naslora_core.viz.story import story
from naslora_core.viz.theme import (
    ADAPTER,
    BASE,
    PREDICTION,
    PROMPT,
    TRUTH,
    canvas,
    use_theme,
)
from naslora_core.viz.tokens import attention, token_grid
from naslora_core.viz.widgets import explore, is_live

__all__ = [
    "ADAPTER",
    "BASE",
    "PREDICTION",
    "PROMPT",
    "TEMPLATES",
    "TRUTH",
    "LivePlot",
    "Picture",
    "alpha_trajectories",
    "ambiguity",
    "attention",
    "blame",
    "borders",
    "budgets",
    "canvas",
    "click",
    "clock",
    "comparison",
    "contact_sheet",
    "cut",
    "discretised",
    "drift",
    "explore",
    "expressions",
    "fields",
    "gains",
    "hits",
    "is_live",
    "landscape",
    "learning",
    "losses",
    "operators",
    "overlay",
    "paired_gains",
    "panel",
    "pixels",
    "race",
    "roulette",
    "routes",
    "scoreboard",
    "show_masks",
    "slid",
    "spectrum",
    "stairs",
    "story",
    "supports",
    "surviving",
    "symptoms",
    "three_parts",
    "token_grid",
    "turns",
    "unprompted",
    "use_theme",
    "watched",
    "weighing",
    "ways",
    "source",
]

use_theme()
