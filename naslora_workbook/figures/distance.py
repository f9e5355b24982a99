"""How far tokens attend, block by block: the mean distance, weighted by attention."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, canvas, finding
from naslora_workbook.figures.tokens import attention_weights

STYLES = (("-", "o", BASE), ("--", "s", ADAPTER["lora"]))


@torch.no_grad()
def attention_distance(encoder, pixels: Tensor) -> list[float]:
    """Mean distance in tokens from a token to those that it attends to, a number a block.

    pixels: preprocessed images `B 3 S S`. Mean over heads, tokens and images. In a windowed block
    no distance can exceed the window.
    """
    inputs: list[Tensor] = []
    hooks = [
        block.attn.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
        for block in encoder.blocks
    ]
    encoder(pixels)
    for hook in hooks:
        hook.remove()
    found = []
    for block, windows in zip(encoder.blocks, inputs, strict=True):
        far = _distances(*windows.shape[1:3]).to(windows)
        means = [(attention_weights(block.attn, w[None]) * far).sum(-1).mean() for w in windows]
        found.append(float(torch.stack(means).mean()))
    return found


def _distances(height: int, width: int) -> Tensor:
    """Euclidean distances `hw hw` between the tokens of a map."""
    place = torch.cartesian_prod(torch.arange(float(height)), torch.arange(float(width)))
    return torch.cdist(place, place)


def distances(lines: Mapping[str, Sequence[float]], windowed: Sequence[bool]) -> Picture:
    """Attention distance over the blocks, a line a model; windowed: which blocks have windows."""
    figure, axes = canvas(height=2.7)
    ax = axes[0, 0]
    for (name, values), (line, mark, colour) in zip(lines.items(), STYLES, strict=False):
        ax.plot(range(len(values)), values, line, marker=mark, color=colour, label=name)
    labels = [f"{i}\n{'window' if w else 'global'}" for i, w in enumerate(windowed)]
    ax.set_xticks(range(len(labels)), labels)
    ax.set(xlabel="block", ylabel="distance in tokens", ylim=(0, None))
    figure.legend(loc="outside lower left", ncols=2)
    ax.axhline(0, color=INK, lw=0.5)
    before, after = list(lines.values())[:2]
    most = max(abs(b - a) for a, b in zip(before, after, strict=True))
    title = f"Adaptation changes the attention distance of a block by at most {most:.2f} tokens"
    finding(figure, title)
    said = "; ".join(f"{n}: {', '.join(f'{v:.1f}' for v in of)}" for n, of in lines.items())
    return Picture(figure, f"{title}. By block, {said}.")
