"""What is unusual about data of yours and stops no training, in sentences."""

from collections.abc import Mapping

from naslora_core.data.index import Listing, nowhere
from naslora_core.data.inspection import MEGAPIXELS, Look
from naslora_core.data.names import first, some
from naslora_core.data.near_duplicates import near_pairs
from naslora_core.data.object_numbers import count_objects

KINDS = {
    "grey": "grey; the grey is copied to red, green and blue",
    "palette": "of palette colours; they are converted to RGB",
    "alpha": "with an alpha channel; it is dropped",
    "cmyk": "CMYK; they are converted to RGB, roughly",
    "deep": "of 16 bits or more; the range of each is spread over 0..255, so that brightness "
    "cannot be compared between them",
    "turned": "turned by their EXIF orientation; they are read upright, as their masks must be",
    "frames": "of several frames; only the first of each is used",
    "mask frames": "with a mask of several frames; only the first of each is used",
}

Looks = Mapping[str, Look]


def notes_on(listing: Listing, looks: Looks, classes: tuple[str, ...]) -> list[str]:
    """A sentence for each unusual thing: files, pictures, masks and classes, splits."""
    files = [*listing.notes, *listing.unused]
    return files + _pictures(looks) + _masks(listing, looks, classes) + _splits(listing, looks)


def _pictures(looks: Looks) -> list[str]:
    notes = []
    for kind, words in KINDS.items():
        if names := [name for name, one in looks.items() if kind in one.kinds]:
            notes.append(f"{some(names)} {words}.")
    if huge := {name: one.seconds for name, one in looks.items() if "huge" in one.kinds}:
        notes.append(
            f"{some(list(huge))} over {MEGAPIXELS} megapixels take {sum(huge.values()):.1f} s to "
            "read, in every epoch; save them at 1024 pixels or so, as SAM sees them."
        )
    return notes


def _masks(listing: Listing, looks: Looks, classes: tuple[str, ...]) -> list[str]:
    notes = []
    if empty := [name for name, one in looks.items() if one.shares.keys() == {0}]:
        notes.append(f"{some(empty)} with an empty mask; right if nothing is to be found there.")
    if count_objects((one.one_piece for one in looks.values()), len(classes)):
        notes.append(
            f"The {len(classes)} numbers of the masks look like object numbers: in nearly every "
            "mask nearly every number is one connected piece; save 0 and 255 if they are."
        )
    return notes + (_classes(listing, looks, classes) if len(classes) > 1 else [])


def _classes(listing: Listing, looks: Looks, classes: tuple[str, ...]) -> list[str]:
    """Which classes no mask has, and which of the others none of train has."""
    train = listing.splits["train"]
    everywhere = set().union(*(one.shares for one in looks.values()))
    learnt = set().union(*(looks[name].shares for name in train)) if train else everywhere
    notes = nowhere(classes, everywhere)
    unlearnt = [c for n, c in enumerate(classes, 1) if n in everywhere - learnt]
    if unlearnt:
        notes.append(
            f"{len(unlearnt)} of {len(classes)} classes are in no image of train: "
            f"{first(unlearnt)}; they cannot be learnt."
        )
    return notes


def _splits(listing: Listing, looks: Looks) -> list[str]:
    notes, used = [], {name for names in listing.splits.values() for name in names}
    if used and (left := sorted(looks.keys() - used)):
        notes.append(f"{some(left)} in no split; they are not used.")
    prints = {
        split: {name: looks[name].print for name in names if looks[name].print}
        for split, names in listing.splits.items()
    }
    if pairs := [str(pair) for pair in near_pairs(prints)]:
        notes.append(
            f"{some(pairs, 'pair')} across splits look nearly the same; if they are, put both in "
            "one split (groups)."
        )
    return notes
