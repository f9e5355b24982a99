"""Training as it happens: a callback that redraws one figure, or draws it once at the end."""

import time

import numpy as np

from naslora_workbook.figures.curves import alpha_of, loss_line, shade_stages
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import ADAPTER, PROMPT, canvas, finding
from naslora_workbook.figures.widgets import is_live

EVERY = 1.0  # seconds between two drawings


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
        figure, axes = canvas(1, 1 + searched, height=2.4)
        end = loss_line(axes[0, 0], self.history, label="training loss")
        axes[0, 0].set(xlabel="step", ylabel="loss", ylim=(0, None))
        self._validation(axes[0, 0])
        if searched:
            self._decided(axes[0, 1])
        last = self.history[-1]
        title = f"Step {last['step']} ({last.get('stage', 'train')}): loss {end:.3f}"
        finding(figure, title)
        return Picture(figure, f"{title}. {self._words()}")

    def _validation(self, ax) -> None:
        found = [(e["step"], e["val_dice"]) for e in self.history if "val_dice" in e]
        if found:
            ax.plot(*zip(*found, strict=True), "o-", color=PROMPT, label="validation Dice")
            ax.legend()

    def _decided(self, ax) -> None:
        steps, alpha = alpha_of(self.history)
        ax.plot(steps, alpha.max(2), color=ADAPTER["nas_lora"], lw=1, alpha=0.8)
        ax.axhline(1 / alpha.shape[2], color="black", ls=":", lw=1)
        shade_stages(ax, self.history)
        ax.set(xlabel="step", ylabel="winner's probability", ylim=(0, 1))
        ax.set_title("one line a block; dotted: uniform")

    def _words(self) -> str:
        if not any(e.get("alpha") for e in self.history):
            return f"{len(self.history)} steps."
        winners = np.max(alpha_of(self.history)[1][-1], 1)
        return f"Winners' probabilities between {winners.min():.2f} and {winners.max():.2f}."

    def _ipython_display_(self) -> None:
        """Bring the figure up to date that stands above already, or draw it here."""
        if self.history:
            self._show()

    def __repr__(self) -> str:
        return "<LivePlot>"
