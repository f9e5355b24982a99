"""NAME=VALUE enters a method, or is refused with what was expected."""

import pytest

from naslora_core.cli.method_settings import method_of
from naslora_core.errors import UserError


def test_settings_of_a_method():
    assert method_of("lora", ["rank=8", "blocks=late-2"]).blocks == "late-2"
    with pytest.raises(UserError, match="rnak=8 is no setting of lora.*blocks.*rank"):
        method_of("lora", ["rnak=8"])
    with pytest.raises(UserError, match="'lorra'; choose one of"):
        method_of("lorra", [])
    with pytest.raises(UserError, match="rank=many.*like 4, the default of lora's rank"):
        method_of("lora", ["rank=many"])
    with pytest.raises(UserError, match="it has no settings"):
        method_of("decoder_only", ["rank=8"])


@pytest.mark.parametrize("setting, usual", [
    ("rank=2.5", "4"), ("rank=True", "4"), ("scale=False", "8.0"), ("scale=None", "8.0"),
    ("searches=1", "True"), ("operators=7", "'linear'"), ("linears=7", "('qkv',)"),
])  # fmt: skip
def test_a_value_of_another_kind_is_refused(setting, usual):
    with pytest.raises(UserError) as caught:
        method_of("nas_lora", [setting])
    assert f"--set {setting} is a " in str(caught.value) and usual in str(caught.value)


def test_values_of_the_right_kind_enter():
    given = ["scale=2", "blocks=(0, 3)", "operators=('skip',)", "searches=False"]
    method = method_of("nas_lora", given)
    assert (method.scale, method.blocks, method.searches) == (2, (0, 3), False)
