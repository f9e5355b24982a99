"""What a search found, as a versioned JSON file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from naslora_core.errors import UserError
from naslora_core.files import write_atomic

SCHEMA = 1


@dataclass(frozen=True)
class BlockChoice:
    """One cell: alpha, its softmax, both readings, what each class leaves unexplained, and how
    sure the softmax is: margin (winner minus second) and entropy (1 uniform, 0 one-hot)."""

    block: str
    alpha: list[float]
    probability: list[float]
    argmax: str
    projection: str | None
    residual: dict[str, float]
    margin: float
    entropy: float


@dataclass(frozen=True)
class Genotype:
    """The operators of every searched block, and the circumstances of the search."""

    operators: list[str]
    operator_hash: str
    blocks: list[BlockChoice]
    start: str
    schedule: str
    data: str
    seed: int
    schema: int = field(default=SCHEMA)

    def save(self, path: str | Path) -> None:
        """Write as JSON, aside and renamed."""
        write_atomic(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: str | Path) -> "Genotype":
        """Read a genotype; UserError where the file is missing, no JSON, or of another schema."""
        try:
            found = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is not a readable genotype ({error}); save one anew."
            ) from error
        version = found.get("schema") if isinstance(found, dict) else None
        if version != SCHEMA:
            raise UserError(
                f"{path} has genotype schema {version}, this version reads {SCHEMA}; search again "
                "or use the version that wrote it."
            )
        try:
            found["blocks"] = [BlockChoice(**b) for b in found["blocks"]]
            return Genotype(**found)
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} is not a whole genotype ({error}); save one anew.") from error

    def _repr_html_(self) -> str:
        head = "<tr><th>block</th><th>argmax &alpha;</th><th>p</th><th>projection</th></tr>"
        rows = "".join(
            f"<tr><td>{b.block}</td><td>{b.argmax}</td><td>{max(b.probability):.2f}</td>"
            f"<td>{b.projection}</td></tr>"
            for b in self.blocks
        )
        return f"<table>{head}{rows}</table>"
