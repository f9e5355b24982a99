"""Figures of the workbook: one theme, arrays in, a `Picture` with alt text out."""

from naslora_workbook.figures.click import click
from naslora_workbook.figures.curves import LivePlot, alpha_trajectories, landscape, losses
from naslora_workbook.figures.diagram import growing_diagram, three_parts
from naslora_workbook.figures.masks import (
    ambiguity,
    before_after,
    contact_sheet,
    overlay,
    show_masks,
)
from naslora_workbook.figures.measure import (
    comparison,
    dragged,
    paired_gains,
    pixels,
    roulette,
    source,
    watched,
    weighing,
)
from naslora_workbook.figures.operators import choices, operators
from naslora_workbook.figures.own import blame, learning, symptoms
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.race import budgets, confusion, expressions, race, turns, ways
from naslora_workbook.figures.rank import cut, spectrum, surviving
from naslora_workbook.figures.scales import fields, router_walk, routes
from naslora_workbook.figures.shipping import borders, clock, discretised, unprompted
from naslora_workbook.figures.space import attention_distance, distances, drift, gains, supports
from naslora_workbook.figures.theme import canvas, use_theme
from naslora_workbook.figures.tokens import attention, token_grid, windows_and_back
from naslora_workbook.figures.widgets import explore, is_live, panel
