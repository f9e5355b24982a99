"""Memory that validation and large pictures need, as notebooks/TROUBLESHOOTING.md states it."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

START = """
    import resource
    import numpy as np
    from naslora_core import LoRA, adapt, evaluate, load_sam
    from naslora_core.data import Sample
    from naslora_core.training.prediction import label_maps

    def picture(side):
        image = np.zeros((side, side, 3), np.uint8)
        image[: side // 2] = 200
        return Sample(image, image[..., 0] // 200, "one")

    class Lazy:
        def __init__(self, count, side):
            self.count, self.side = count, side
        def __len__(self):
            return self.count
        def __getitem__(self, i):
            if i >= self.count:
                raise IndexError(i)
            return picture(self.side)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
"""


def _measured(code: str) -> float:
    program = textwrap.dedent(START) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def _validation(images: int) -> float:
    return _measured(f"""
        model = adapt(load_sam(), LoRA())
        evaluate(model, Lazy(1, 128), keep_masks=False)
        before = peak()
        evaluate(model, Lazy({images}, 1024), batch=4, keep_masks=False)
        print((peak() - before) / 1024**2)
    """)


def test_validation_needs_memory_for_one_batch_whatever_the_number_of_images():
    """Were the 32 images held, they alone would be 128 bytes."""
    needed = _validation(32)
    print(f"bytes for each pixel of one image, in batches of four: {needed:.1f}")
    assert 40 < needed < 110


def test_a_large_picture_in_tiles_needs_a_few_bytes_a_pixel():
    needed = _measured("""
        model = adapt(load_sam(), LoRA(), tile=512)
        next(label_maps(model, [picture(600)]))
        before, side = peak(), 4096
        mask = next(label_maps(model, [picture(side)], batch=4))
        print((peak() - before) / side**2)
    """)
    print(f"bytes a pixel: {needed:.1f}")
    assert 4 < needed < 12
