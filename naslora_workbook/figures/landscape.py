"""A search from above: how decided every block is at every step; to turn where that is live."""

from collections.abc import Sequence

import numpy as np

from naslora_workbook.figures.curves import alpha_of
from naslora_workbook.figures.ledger import Live
from naslora_workbook.figures.theme import SEQUENTIAL, chart, finding

MOST = 60  # steps that a live surface keeps


def landscape(
    history: Sequence[dict], operators: Sequence[str], blocks: Sequence[str] | None = None
) -> Live:
    """The strongest operator's probability over step and block; live a surface that turns.

    history: events with `step` and `alpha`, the probabilities `blocks operators`. The live form
    has a button for every operator, too.
    """
    steps, alpha = alpha_of(history)
    blocks = list(blocks or (f"alpha {i}" for i in range(alpha.shape[1])))
    strongest, last = alpha.max(2), alpha[-1]
    figure, ax = chart(0.3 * len(blocks) + 1.2)
    place = (steps[0], steps[-1], len(blocks) - 0.5, -0.5)
    uniform = 1 / len(operators)
    scale = {"cmap": SEQUENTIAL, "vmin": uniform, "aspect": "auto", "extent": place}
    shown = ax.imshow(strongest.T, **scale)
    winners = [f"{b}: {operators[i]}" for b, i in zip(blocks, last.argmax(1), strict=True)]
    ax.set_yticks(range(len(blocks)), winners)
    ax.set_xlabel("step")
    figure.colorbar(shown, ax=ax, label="strongest probability")
    most, least = (blocks[i] for i in (last.max(1).argmax(), last.max(1).argmin()))
    title = f"{most} ends the most decided at {last.max():.2f}, {least} the least at "
    title += f"{last.max(1).min():.2f}; uniform is {uniform:.2f}"
    finding(figure, title)
    return Live(figure, f"{title}. {', '.join(winners)}.", _plot(steps, alpha, operators, blocks))


def _plot(steps, alpha: np.ndarray, operators: Sequence[str], blocks: Sequence[str]) -> dict:
    """The same as plotly's JSON: a surface, and buttons for what its height means."""
    some = np.unique(np.linspace(0, len(steps) - 1, MOST).round().astype(int))
    heights = {"strongest": alpha.max(2)} | {n: alpha[..., i] for i, n in enumerate(operators)}
    heights = {name: h[some].T.round(3).tolist() for name, h in heights.items()}
    surface = {
        "type": "surface",
        "x": steps[some].tolist(),
        "y": list(range(len(blocks))),
        "z": heights["strongest"],
        "cmin": 0,
        "cmax": round(float(alpha.max()), 3),
        "colorscale": SEQUENTIAL.capitalize(),
        "showscale": False,
        "hovertemplate": "step %{x}, block %{y}: %{z:.2f}<extra></extra>",
    }
    buttons = [{"label": n, "method": "restyle", "args": [{"z": [h]}]} for n, h in heights.items()]
    ticks = {"tickvals": surface["y"], "ticktext": blocks}
    axes = {"x": {}, "y": ticks, "z": {"range": [0, surface["cmax"]]}}
    words = {"x": "step", "y": "", "z": "probability"}
    scene = {f"{k}axis": a | {"title": {"text": words[k]}} for k, a in axes.items()}
    scene |= {"camera": {"eye": {"x": 1.9, "y": 2, "z": 1}}, "aspectmode": "manual"}
    scene |= {"aspectratio": {"x": 1.4, "y": 1.4, "z": 0.7}}
    menu = {"buttons": buttons, "x": 0, "y": 1, "xanchor": "left"}
    layout = {"scene": scene, "height": 480, "margin": {"l": 0, "r": 0, "t": 30, "b": 0}}
    return {"data": [surface], "layout": layout | {"updatemenus": [menu]}}
