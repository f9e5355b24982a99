"""What a search found, as a versioned JSON file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from naslora_core.errors import UserError, fault
from naslora_core.files import read, write_atomic
from naslora_core.search.operator_registry import require_operators

SCHEMA = 2


@dataclass(frozen=True)
class BlockChoice:
    """One cell: alpha, its softmax, both readings, the share of energy that each class leaves
    unexplained (residual) and that no per-token map explains (off_centre, None where it was not
    read), and how sure the softmax is: margin (winner minus second) and entropy (1 uniform, 0
    one-hot)."""

    block: str
    alpha: list[float]
    probability: list[float]
    argmax: str
    projection: str | None
    residual: dict[str, float]
    margin: float
    entropy: float
    off_centre: float | None = None


@dataclass(frozen=True)
class Genotype:
    """The operators of every searched block, and the circumstances of the search.

    base: name and hash of the SAM that was adapted; split: the images that moved alpha.
    """

    operators: list[str]
    operator_hash: str
    blocks: list[BlockChoice]
    start: str
    schedule: str
    data: str
    seed: int
    base: str = ""
    split: str = "train"
    schema: int = field(default=SCHEMA)

    def save(self, path: str | Path) -> None:
        """Write as JSON, aside and renamed."""
        write_atomic(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: str | Path, base: str | None = None) -> "Genotype":
        """Read a genotype; UserError where the file is missing, no JSON, of another schema, of
        operators that are defined otherwise here, or, where one is given, of another base."""
        try:
            found = json.loads(read(path))
            version = found.get("schema")
            if version == SCHEMA:
                blocks = [BlockChoice(**block) for block in found.pop("blocks")]
                genotype = Genotype(**found, blocks=blocks)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise fault(
                path, f"is damaged ({error})", "a whole genotype", "save one anew"
            ) from error
        if version != SCHEMA:
            given, remedy = f"has genotype schema {version}", "search again, or take that version"
            raise fault(path, given, f"schema {SCHEMA}", remedy)
        require_operators(path, genotype.operators, genotype.operator_hash)
        if base is not None and genotype.base != base:
            given = f"was found on the base {genotype.base or 'unnamed'}"
            raise fault(path, given, f"this one, {base}", "load the base that was searched")
        return genotype

    def distance(self, other: "Genotype") -> float:
        """Half the sum over operators of |p - q|, mean over blocks: 0 the same, 1 nothing shared.

        Raises UserError for genotypes of different search spaces: operators, base or blocks.
        """
        mine, theirs = ({b.block: b.probability for b in g.blocks} for g in (self, other))
        if self._space() != other._space():
            raise UserError(
                f"The genotypes are of different search spaces, {self._space()} and "
                f"{other._space()}; compare searches over the same operators, base and blocks."
            )
        pairs = [(p, q) for block in mine for p, q in zip(mine[block], theirs[block], strict=True)]
        return sum(abs(p - q) for p, q in pairs) / 2 / len(mine)

    def _space(self) -> tuple:
        return self.operator_hash, self.base, sorted(b.block for b in self.blocks)

    def _repr_html_(self) -> str:
        head = "<tr><th>block</th><th>argmax &alpha;</th><th>p</th><th>projection</th></tr>"
        rows = "".join(
            f"<tr><td>{b.block}</td><td>{b.argmax}</td><td>{max(b.probability):.2f}</td>"
            f"<td>{b.projection}</td></tr>"
            for b in self.blocks
        )
        return f"<table>{head}{rows}</table>"
