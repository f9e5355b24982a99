"""Images and their masks: embedded procedural domains, or a folder of yours."""

from naslora_core.data.dataset import Dataset, Sample, Split
from naslora_core.data.domains import DOMAINS, domain
from naslora_core.data.folder import folder
from naslora_core.data.transforms import to_batch


def open_data(name: str, profile, seed: int = 0) -> Dataset:
    """An embedded domain with the profile's counts and size, or the folder at the path `name`."""
    if name not in DOMAINS:
        return folder(name)
    p = profile
    return domain(name, p.train, p.val, p.test, size=p.image_size, seed=seed)


__all__ = ["DOMAINS", "Dataset", "Sample", "Split", "domain", "folder", "open_data", "to_batch"]
