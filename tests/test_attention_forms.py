"""Four forms of one attention, and what a cache saves, measured as they say."""

import json

import pytest

from naslora_core.cli import build_parser
from naslora_core.errors import UserError
from naslora_workbook.research import cached_cost, measuring
from naslora_workbook.research.attention_forms import FORMS, OFFICIAL, SHAPES, compare


def test_every_form_gives_the_same_attention_or_says_why_it_cannot():
    rows = compare("windowed", rounds=1, shape=(2, 6, 5), dim=128)
    assert list(rows) == [OFFICIAL, *FORMS]
    for name in (OFFICIAL, "fused", "mask"):
        assert rows[name]["output_error"] < 1e-5 and rows[name]["gradient_error"] < 1e-5
        assert rows[name]["saved_mb"] > 0 and rows[name]["ratio"] > 0
    flex = rows["flex"]
    assert "CPU" in flex.get("refused", "") or flex["gradient_error"] < 1e-5


def test_no_table_of_all_pairs_is_kept_by_the_fused_form():
    rows = compare("global", rounds=1, shape=(1, 40, 40), dim=64)
    pairs = 40**4 * 4 / 2**20
    assert rows[OFFICIAL]["saved_mb"] > pairs > rows["fused"]["saved_mb"]


def test_a_cached_step_is_faster_and_only_half_moves_the_loss(monkeypatch):
    rows = cached_cost.measure_cached(["decoder_only"], rounds=5, batch=2)["decoder_only"]
    assert rows["with"]["loss_difference"] == 0 < rows["half"]["loss_difference"] < 1e-3
    assert rows["without"]["ratio"] == 1 and rows["with"]["ms"] < rows["without"]["ms"]


def test_the_command_keeps_its_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "compare", lambda where, *_: {"fused": {"ratio": 0.5}})
    out = tmp_path / "attention.json"
    arguments = build_parser().parse_args(["measure", "attention", "--out", str(out)])
    arguments.run(arguments)
    kept = json.loads(out.read_text())
    assert kept["rows"].keys() == SHAPES.keys() and kept["provenance"]["device"]
    assert "fused" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        build_parser().parse_args(["measure", "nothing"])


@pytest.mark.parametrize(
    "words",
    [["cache", "--device", "cpu"], ["cache", "--sizes", "nano"], ["attention", "--sizes", "nano"]],
)
def test_a_choice_that_a_question_does_not_have_is_refused(words, tmp_path):
    arguments = build_parser().parse_args(["measure", *words, "--out", str(tmp_path / "rows.json")])
    with pytest.raises(UserError, match=f"measure {words[0]} has no choice of {words[1]}"):
        arguments.run(arguments)
    assert not list(tmp_path.iterdir())
