"""NAME=VALUE enters a method, or is refused with what was expected."""

import pytest

from naslora_core.cli.method_settings import KINDS, method_of
from naslora_core.errors import UserError
from naslora_workbook.research.methods import METHODS


def test_settings_of_a_method():
    assert method_of("lora", ["rank=8", "blocks=late-2"]).blocks == "late-2"
    with pytest.raises(UserError, match="rnak=8 is no setting of lora.*blocks.*rank"):
        method_of("lora", ["rnak=8"])
    with pytest.raises(UserError, match="'lorra'; choose one of"):
        method_of("lorra", [])
    with pytest.raises(
        UserError, match="rank=many is no whole number; lora's rank is 4 by default"
    ):
        method_of("lora", ["rank=many"])
    with pytest.raises(UserError, match="it has no settings"):
        method_of("decoder_only", ["rank=8"])


@pytest.mark.parametrize("setting, told", [
    ("rank=2.5", "rank=2.5 is no whole number; nas_lora's rank is 4 by default"),
    ("rank=True", "rank=True is no whole number"),
    ("scale=False", "scale=False is no number"),
    ("scale=None", "scale=None is no number"),
    ("searches=1", "searches=1 is neither True nor False"),
    ("operators=7", "operators=7 is no name, and no tuple as in .*; .* is 'linear' by default"),
    ("linears=7", "linears=7 is no name, and no tuple as in linears="),
])  # fmt: skip
def test_a_value_of_another_kind_is_refused(setting, told):
    with pytest.raises(UserError, match=f"--set {told}"):
        method_of("nas_lora", [setting])


def test_values_of_the_right_kind_enter():
    given = ["scale=2", "blocks=(0, 3)", "operators=('skip',)", "searches=False"]
    method = method_of("nas_lora", given)
    assert (method.scale, method.blocks, method.searches) == (2, (0, 3), False)
    for made in METHODS.values():
        assert {type(value) for value in vars(made).values()} <= KINDS.keys()
