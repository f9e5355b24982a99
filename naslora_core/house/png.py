"""PNG pictures without names of programs and dates, so that equal pixels are equal bytes."""

import base64
import struct
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WORDS = {b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"}


def without_metadata(encoded: str) -> str:
    """A base64 PNG without its text, time and Exif chunks (PNG specification, section 11.3)."""
    data = base64.b64decode(encoded)
    kept = b"".join(chunk for kind, chunk in _chunks(data) if kind not in WORDS)
    return base64.b64encode(SIGNATURE + kept).decode()


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length  # length, kind, content, checksum
        yield data[place + 4 : place + 8], data[place:end]
        place = end
