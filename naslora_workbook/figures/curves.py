"""Training as curves: losses, every operator's probability, a redrawn plot, a search from above."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from naslora_core.errors import UserError
from naslora_workbook.figures import theme
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.widgets import is_live
from naslora_workbook.results.labels import LABELS

TIE = 0.01  # losses this close are called the same
PLOTLY = "application/vnd.plotly.v1+json"
MOST = 60  # steps that a live surface keeps
EVERY = 1.0  # seconds between two drawings


def losses(histories: Mapping[str, Sequence[dict]]) -> Picture:
    """Loss over steps, smoothed over a tenth of the run, one line a method in its colour."""
    figure, ax = theme.chart(2.6)
    last = {}
    for method, history in histories.items():
        name, colour = LABELS.get(method, method), theme.ADAPTER.get(method, theme.INK)
        last[name] = loss_line(ax, history, colour, name)
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    ax.legend(loc="upper right")
    low, high = min(last.values()), max(last.values())  # no winner: one run ranks nothing
    title = f"One seed: the training losses end between {low:.2f} and {high:.2f}"
    ends = ", ".join(f"{name} {value:.3f}" for name, value in last.items())
    return titled(figure, title, f"At the end: {ends}.", at=ax)


def loss_line(ax: Axes, history: Sequence[dict], colour=None, label: str | None = None) -> float:
    """Draw one run's loss, raw in the background, smoothed in front; the last smoothed value."""
    steps, loss = (np.array([e[k] for e in history]) for k in ("step", "loss"))
    window = np.ones(max(1, len(loss) // 10))
    smooth = np.convolve(loss, window, "same") / np.convolve(loss**0, window, "same")
    ax.plot(steps, loss, color=colour or theme.BASE, alpha=0.25, lw=0.8)
    ax.plot(steps, smooth, color=colour or theme.PREDICTION, label=label)
    return float(smooth[-1])


def alpha_trajectories(
    history: Sequence[dict], operators: Sequence[str], blocks: Sequence[str]
) -> Picture:
    """Probability of every operator over the steps, one plot a block, the winner named.

    history: events with `step`, `stage` and `alpha`, the probabilities `blocks operators`; blocks:
    names of the vectors.
    """
    steps, alpha = alpha_of(history)
    columns = min(3, len(blocks))
    figure, axes = theme.grid(len(blocks), columns, 1.6, 0.9, sharex=True, sharey=True)
    for ax, name, way in zip(axes.flat, blocks, alpha.swapaxes(0, 1), strict=False):
        _ways(ax, steps, way, operators)
        shade_stages(ax, history)
        ax.set_title(f"{name}: {operators[int(way[-1].argmax())]} {way[-1].max():.2f}")
    for ax in axes[-1]:
        ax.set_xlabel("step")
    for ax in axes[:, 0]:
        ax.set_ylabel("probability")
    axes[0, 0].set_ylim(bottom=0)
    handles = axes[0, 0].get_legend_handles_labels()
    legend = figure.legend(*handles, loc="outside lower left", ncols=6, handlelength=1)
    for line in legend.get_lines():
        line.set_linewidth(1.2)  # block 0 has its winner bold
    title = f"Winners end between {alpha[-1].max(1).min():.2f} and {alpha[-1].max():.2f}"
    theme.finding(figure, f"{title}; uniform is {1 / len(operators):.2f}")
    return Picture(figure, f"{title}. Uniform is {1 / len(operators):.2f}.")


def alpha_of(history: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Steps `t` and probabilities `t blocks operators` of the events that carry alpha."""
    found = [(e["step"], e["alpha"]) for e in history if e.get("alpha")]
    if not found:
        raise UserError("No event of this history has alpha; use the history of a NASLoRA run.")
    return np.array([s for s, _ in found]), np.array([a for _, a in found], float)


def _ways(ax: Axes, steps, way: np.ndarray, operators: Sequence[str]) -> None:
    winner, colours = int(way[-1].argmax()), theme.operator_colours(operators)
    for i, name in enumerate(operators):
        ax.plot(steps, way[:, i], color=colours[name], lw=2.5 if i == winner else 1.2, label=name)
    ax.axhline(1 / len(operators), color=theme.INK, ls=":", lw=1, label="uniform")


def shade_stages(ax: Axes, history: Sequence[dict]) -> None:
    """A grey ground where alpha moves: between the first and the last event that moved it."""
    moved = [e["step"] for e in history if "alpha" in e.get("moved", "")]
    if moved:
        ax.axvspan(moved[0], moved[-1], color="#EEEEEE", zorder=-1, lw=0, label="alpha moves")


class LivePlot:
    """`fit(..., on_event=plot)`; then end a cell with `plot`.

    Takes events with `step`, `stage`, `loss`, and where there are any `val_dice` (from
    `early_stopping`) and `alpha` (probabilities `blocks operators`). In a live notebook it
    redraws at most once a second, under automation only where it is displayed.
    """

    def __init__(self):
        self.history = []
        self._handle, self._drawn = None, 0.0

    def __call__(self, event: dict) -> None:
        self.history.append(event)
        if is_live() and time.monotonic() - self._drawn > EVERY:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(self.picture(), display_id=True)
        else:
            self._handle.update(self.picture())
        self._drawn = time.monotonic()

    def picture(self) -> Picture:
        """The figure as it stands: loss and validation score, and how decided each block is."""
        searched = any(e.get("alpha") for e in self.history)
        words = f"{len(self.history)} steps."
        figure, axes = theme.canvas(1, 1 + searched, height=2.4)
        end = loss_line(axes[0, 0], self.history, label="training loss")
        axes[0, 0].set(xlabel="step", ylabel="loss", ylim=(0, None))
        self._validation(axes[0, 0])
        if searched:
            words = self._decided(axes[0, 1])
        last = self.history[-1]
        title = f"Step {last['step']} ({last.get('stage', 'train')}): loss {end:.3f}"
        return titled(figure, title, words)

    def _validation(self, ax) -> None:
        found = [(e["step"], e["val_dice"]) for e in self.history if "val_dice" in e]
        if found:
            ax.plot(*zip(*found, strict=True), "o-", color=theme.PROMPT, label="validation Dice")
            ax.legend()

    def _decided(self, ax) -> str:
        steps, alpha = alpha_of(self.history)
        winners = alpha.max(2)
        ax.plot(steps, winners, color=theme.ADAPTER["nas_lora"], lw=1, alpha=0.8)
        ax.axhline(1 / alpha.shape[2], color="black", ls=":", lw=1)
        shade_stages(ax, self.history)
        ax.set(xlabel="step", ylabel="winner's probability", ylim=(0, 1))
        ax.set_title("one line a block; dotted: uniform")
        low, high = winners[-1].min(), winners[-1].max()
        return f"Winners' probabilities between {low:.2f} and {high:.2f}."

    def _ipython_display_(self) -> None:
        """Bring the figure up to date that stands above already, or draw it here."""
        if self.history:
            self._show()

    def __repr__(self) -> str:
        return "<LivePlot>"


class Live(Picture):
    """A picture that is a plotly figure wherever plotly's script is at hand."""

    def __init__(self, figure, alt: str, plot: dict):
        super().__init__(figure, alt)
        self.plot = plot

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {PLOTLY: self.plot}


def landscape(history: Sequence[dict], operators: Sequence[str], blocks: Sequence[str]) -> Live:
    """The strongest operator's probability over step and block; live a surface that turns.

    history: events with `step` and `alpha`, the probabilities `blocks operators`. The live form
    has a button for every operator, too.
    """
    steps, alpha = alpha_of(history)
    strongest, last = alpha.max(2), alpha[-1]
    figure, ax = theme.chart(0.3 * len(blocks) + 1.2)
    place = (steps[0], steps[-1], len(blocks) - 0.5, -0.5)
    uniform = 1 / len(operators)
    shown = ax.imshow(strongest.T, theme.SEQUENTIAL, vmin=uniform, aspect="auto", extent=place)
    winners = [f"{b}: {operators[i]}" for b, i in zip(blocks, last.argmax(1), strict=True)]
    ax.set_yticks(range(len(blocks)), winners)
    ax.set_xlabel("step")
    figure.colorbar(shown, ax=ax, label="strongest probability")
    most, least = (blocks[i] for i in (last.max(1).argmax(), last.max(1).argmin()))
    title = f"The winner ends highest in {most} ({last.max():.2f}), lowest in {least} "
    title += f"({last.max(1).min():.2f}); uniform is {uniform:.2f}"
    theme.finding(figure, title)
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
        "colorscale": theme.SEQUENTIAL.capitalize(),
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
