"""Images of one patient or sequence fall in one split, by hash or as a split.json says."""

import json

import pytest
from pictures import contents, make, names

from naslora_core.data import from_folder as folder
from naslora_core.data import open_data
from naslora_core.data.splits import grouped_splits, groups_by
from naslora_core.errors import UserError
from naslora_workbook.lessons.profiles import profile


def patients(root, count: int = 12):
    """p0.png -> patient0_p0.png: three images a patient."""
    make(root, count)
    for kind in ("images", "masks"):
        for i in range(count):
            (root / kind / f"p{i}.png").rename(root / kind / f"patient{i // 3}_p{i}.png")
    return root


PATTERN = r"^(patient\d+)_"
SPLITS = ("train", "val", "test")


def test_no_patient_is_in_two_splits(tmp_path):
    root = patients(tmp_path)
    for seed in range(5):
        found = names(folder(root, split_seed=seed, groups=PATTERN))
        held = [{name.split("_")[0] for name in split} for split in found]
        assert all(held) and sum(map(len, held)) == 4 and sum(map(len, found)) == 12
    assert names(open_data(str(root), profile(), groups=PATTERN)) == names(
        folder(root, groups=PATTERN)
    )


def test_without_groups_a_patient_is_torn_apart(tmp_path):
    """Else the test above would prove nothing."""
    held = [{n.split("_")[0] for n in split} for split in names(folder(patients(tmp_path)))]
    assert sum(map(len, held)) > 4


@pytest.mark.parametrize("count", [3, 4, 10, 57])
def test_a_split_of_groups_is_complete_and_keeps_to_the_hash(count):
    groups = {f"{g}/{i}": f"g{g}" for g in range(count) for i in range(g % 4 + 1)}
    splits = grouped_splits(groups)
    together = [n for part in splits.values() for n in part]
    assert sorted(together) == sorted(groups) and all(splits.values())
    assert splits == grouped_splits(dict(reversed(groups.items())))
    assert splits != grouped_splits(groups, seed=1)


def _given(root, **splits):
    (root / "split.json").write_text(json.dumps(splits))


def test_a_given_split_with_whole_groups_is_taken(tmp_path):
    root = patients(tmp_path, 9)
    parts = {s: [f"patient{g}_p{3 * g + i}" for i in range(3)] for g, s in enumerate(SPLITS)}
    _given(root, **parts)
    assert [sorted(s) for s in names(folder(root, groups=PATTERN))] == list(parts.values())


FAULTS = {
    "no expression": ("(patient", r'"\(patient" is no regular expression \(.*mend'),
    "no group": (r"patient\d+", r"has 0 groups in parentheses; expected one.*around"),
    "two groups in it": (r"(patient)(\d+)", r"has 2 groups in parentheses"),
    "a name without": (r"(patient[0-2])_", r"finds nothing in 3 image\(s\) \(patient3_p10.*widen"),
    "an empty group": (r"(x?)", r"finds nothing in 12 image\(s\) \(patient0_p0"),
    "one group of all": (r"(patient)", r"1 group\(s\) \(patient\) are too few.*3 or more"),
    "a split that shares one": (
        PATTERN,
        r"split\.json has 1 group\(s\) \(patient0\) both in train and in val.*together",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_groups_is_one_clear_sentence(tmp_path, fault):
    root = patients(tmp_path)
    if fault.startswith("a split"):
        _given(root, train=["patient0_p0"], val=["patient0_p1"], test=["patient1_p3"])
    before = contents(root)
    pattern, words = FAULTS[fault]
    with pytest.raises(UserError, match=words) as caught:
        folder(root, groups=pattern)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert contents(root) == before


def test_the_group_is_what_the_parentheses_find():
    assert groups_by(r"_(\d+)-", ["a_1-x", "b_1-y", "c_22-z"]) == {
        "a_1-x": "1",
        "b_1-y": "1",
        "c_22-z": "22",
    }
