"""SAM's three parts as boxes and arrows, with the shapes that pass between them."""

from naslora_workbook.figures.boxes import FROZEN, arrow, box
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import BASE, INK, PROMPT, canvas, finding


def three_parts(sam) -> Picture:
    """Image encoder, prompt encoder and mask decoder of a SAM: sizes, parameters, shapes."""
    encoder, prompts = sam.image_encoder, sam.prompt_encoder
    side, (h, w), c = encoder.img_size, prompts.image_embedding_size, prompts.embed_dim
    figure, axes = canvas(height=2.9)
    ax = axes[0, 0]
    ax.set(xlim=(-0.5, 100.5), ylim=(0, 41))
    ax.axis("off")
    box(ax, 0, 25, 18, 10, f"image\n3 × {side} × {side}", INK)
    box(ax, 23.5, 20, 22, 20, _encoder(encoder), BASE, FROZEN)
    box(ax, 0, 1, 18, 13, "prompt\nclicks, box,\nmask", INK)
    box(ax, 23.5, 1, 22, 13, f"prompt encoder\n{millions(prompts)}", PROMPT, FROZEN)
    box(ax, 66, 11, 16, 17, _decoder(sam.mask_decoder), BASE, FROZEN)
    box(ax, 87, 21, 13, 10, f"3 masks\n{4 * h} × {4 * w}", INK)
    box(ax, 87, 7, 13, 10, "3 predicted\nIoU", INK)
    for start, end in (((18, 30), (23.5, 30)), ((18, 7.5), (23.5, 7.5))):
        arrow(ax, start, end)
    arrow(ax, (45.5, 30), (66, 23), f"image embedding\n{c} × {h} × {w}", (57, 32.5))
    arrow(ax, (45.5, 7.5), (66, 16), f"tokens n × {c}\ndense {c} × {h} × {w}", (58.5, 5))
    arrow(ax, (82, 22), (87, 26))
    arrow(ax, (82, 17), (87, 12))
    title = _title(sam)
    finding(figure, title)
    parts = f"{_encoder(encoder)}; {_decoder(sam.mask_decoder)}".replace("\n", " ")
    return Picture(figure, f"{title}. {parts}; embedding {c} × {h} × {w}.")


def millions(module) -> str:
    """Parameters in words: 2.1 M, 12 k."""
    n = sum(p.numel() for p in module.parameters())
    return f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n / 1e3:.0f} k"


def _title(sam) -> str:
    total = sum(p.numel() for p in sam.parameters())
    share = sum(p.numel() for p in sam.image_encoder.parameters()) / total
    return f"The encoder has {share:.0%} of the weights and never sees the prompt"


def _encoder(encoder) -> str:
    whole = [i for i, b in enumerate(encoder.blocks) if b.window_size == 0]
    windows = max(b.window_size for b in encoder.blocks)
    return (
        f"image encoder\n{millions(encoder)}\n{len(encoder.blocks)} blocks,\n"
        f"windows of {windows} × {windows},\nglobal: {', '.join(map(str, whole))}"
    )


def _decoder(decoder) -> str:
    return f"mask decoder\n{millions(decoder)}\n{len(decoder.transformer.layers)} two-way\nblocks"
