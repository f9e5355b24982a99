"""Read the operators that a search found, and keep one of them in every cell."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from naslora_core.adapters.adaptation import Adapted, adapt, head_name, method
from naslora_core.adapters.lora import LoRA, LoRALinear
from naslora_core.adapters.nas_lora import NASLoRA, cells, decoders
from naslora_core.errors import UserError, known
from naslora_core.search import BlockChoice, Cell, Choice, Genotype, argmax, project, set_hash
from naslora_core.search.cell import mix_together


def choose_operators(
    model: nn.Module, images: Tensor, held: int | None = None
) -> dict[str, Choice]:
    """Of every cell the readings on the z that `images` (`B 3 S S`, 0..255) send through it, `held`
    of them in a forward pass, None for all at once."""
    parts = images.split(held or len(images))
    return read_cells(model, lambda: [model(part) for part in parts])


@torch.no_grad()
def read_cells(model: nn.Module, run: Callable) -> dict[str, Choice]:
    """Of every cell the readings on the z that run() sends through it; We and Wd are learned, so
    projection leaves the basis of z free."""
    found, seen = cells(model), defaultdict(list)
    hooks = [c.register_forward_pre_hook(lambda m, z: seen[m].append(z[0])) for c in found.values()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    Wd = decoders(model)
    # a mixed kernel that is not the whole cell explains nothing: then alpha alone is read
    return {
        n: project(c, torch.cat(seen[c]).float(), decoder=Wd[n]) if c.linear
        else Choice(argmax(c), None, {})
        for n, c in found.items()
    }  # fmt: skip


def read_genotype(
    model: nn.Module, images: Tensor, held: int | None = None, **circumstances
) -> Genotype | None:
    """The genotype of a model's cells, on `images` (`B 3 S S`, 0..255), `held` of them at once;
    None without a cell, and after choosing. circumstances: schedule, data, seed, split."""
    found = cells(model)
    if not found or not hasattr(model.method, "operators"):
        return None
    read = choose_operators(model, images, held)
    blocks = [_block(name, cell, read[name]) for name, cell in found.items()]
    names, start = next(iter(found.values())).names, model.method.start
    base = f"{model.base_name} {model.base_hash[:12]}"
    return Genotype(list(names), set_hash(names), blocks, start, base=base, **circumstances)


def _block(name: str, cell: Cell, choice: Choice) -> BlockChoice:
    p = cell.probabilities().detach().double()
    first, second = p.topk(2).values if len(p) > 1 else (p[0], p.new_zeros(()))
    entropy = -torch.special.xlogy(p, p).sum() / math.log(max(len(p), 2))
    sure = {"margin": float(first - second), "entropy": float(entropy)}
    read = {k: getattr(choice, k) for k in ("argmax", "projection", "residual", "off_centre")}
    return BlockChoice(name, cell.arch_alpha.tolist(), p.tolist(), **read, **sure)


READINGS = ("projection", "argmax")


@method("chosen_lora", label="LoRA, one chosen operator a layer", compared=False)
@dataclass(frozen=True)
class ChosenLoRA(LoRA):
    """chosen: the operator of every adapted Linear, in order of blocks; place: as FixedConv's."""

    place: str = "window"
    chosen: tuple[str, ...] = ()

    def cell(self) -> nn.Module:
        return nn.Identity()

    def inject(self, encoder: nn.Module) -> None:
        """Wrap the Linears, each with a cell of its one operator."""
        super().inject(encoder)
        layers = layers_of(encoder)
        if len(layers) != len(self.chosen):
            raise UserError(
                f"{len(self.chosen)} operators are chosen for {len(layers)} Linears; name one for "
                "each, in order of blocks."
            )
        for layer, name in zip(layers, self.chosen, strict=True):
            layer.cell = Cell(self.rank, (name,), "plain")
            layer.cell.arch_alpha.requires_grad_(False)
        mix_together(encoder)


def layers_of(module: nn.Module) -> list[LoRALinear]:
    """The adapted Linears that hold a cell, in the order of `cells`: q before the v around it."""
    owner = {id(m.cell): m for m in module.modules() if getattr(m, "cell", None) is not None}
    return [owner[id(m)] for m in module.modules() if id(m) in owner]


@torch.no_grad()
def discretise(
    sam: nn.Module, model: Adapted, images: Tensor, reading: str = "projection"
) -> Adapted:
    """A searched `model` of the base `sam` with one operator a cell, chosen on `images` `B 3 S S`.

    It loses what the class leaves unexplained (`Choice.residual`); `fit` settles the rest.
    reading: "projection", the cheapest class that explains the mixed kernel, or "argmax", the class
    of the largest alpha ("none" beside a skip that no alpha weighs leaves that skip); of either the
    nearest member, the change of basis absorbed by We and Wd.
    Raises UserError for a model that was not searched whole, and where no class explains a kernel.
    """
    if not isinstance(model.method, NASLoRA):
        given = f"{type(model.method).__name__} has no whole cell to choose from"
        raise UserError(f"{given}; give a model of NASLoRA.")
    known(reading, READINGS, "Unknown reading")
    read, m = choose_operators(model, images), model.method
    nothing = "skip" if m.start == "beside" else "none"
    names = [_operator(label, c, getattr(c, reading), nothing) for label, c in read.items()]
    chosen_lora = ChosenLoRA(m.rank, m.scale, m.blocks, m.linears, m.place, tuple(names))
    shape = model.classes, model.seed, head_name(model.head)
    chosen = adapt(sam, chosen_lora, *shape).take_input_facts(model.input_facts())
    if chosen.base_hash != model.base_hash:
        bases = f"the base {model.base_hash[:12]}, this SAM is {chosen.base_hash[:12]}"
        raise UserError(f"The model was trained on {bases}; give the one that it was adapted from.")
    kept = chosen.adapter_state_dict()
    for name, tensor in model.adapter_state_dict().items():  # the decoder, the head
        if ".blocks." not in name:
            kept[name].copy_(tensor)
    members = (choice.members[name] for name, choice in zip(names, read.values(), strict=True))
    for member, old, new in zip(members, layers_of(model), layers_of(chosen), strict=True):
        # We' = into We and Wd' = out, and the operator between them
        new.We.copy_(member.into.to(old.We) @ old.We)
        new.Wd.copy_(member.out)
        new.cell.operators[0].take(member.kernel)
    return chosen


def _operator(label: str, choice: Choice, name: str | None, nothing: str) -> str:
    """The name that was read of a cell, `nothing` for none; UserError where it has no member."""
    if name is None:
        remedy = 'search a set with conv_5x5, or choose by reading="argmax"'
        raise UserError(f"No operator explains the kernel of {label}; {remedy}.")
    name = nothing if name == "none" else name
    if name not in choice.members:
        raise UserError(
            f"{label} chose {name!r}, which is not searched or has no known class of kernels "
            f"({', '.join(choice.members) or 'none has one'}); search the set 'linear', or keep "
            "the mixture."
        )
    return name
