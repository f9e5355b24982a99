"""What draws, which is not always installed where one trains."""

from types import ModuleType

from naslora_core.errors import UserError


def drawing() -> ModuleType:
    """`viz.masks`; UserError with the remedy where its packages are not installed."""
    try:
        from naslora_core.viz import masks
    except ImportError as error:
        package = (error.name or "matplotlib").split(".")[0]
        raise UserError(
            f"{package} draws, and is not installed; python -m pip install {package}."
        ) from error
    return masks
