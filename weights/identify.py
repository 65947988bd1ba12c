"""What a file that holds no weights is instead, for a message that helps."""

from __future__ import annotations

import re

__all__ = ["identify"]

_MAGICS = (
    (b"PK\x03\x04", "a zip archive (an .npz, or a PyTorch file)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a git-lfs pointer, not the file it points to"),
)
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_PROTOTXT = re.compile(rb"^[ \t]*(layers?\s*\{|name\s*:|input\s*:|input_dim\s*:|input_param)", re.MULTILINE)
_HINTS = {
    "an HTML page": "download the file itself, not the page about it",
    "a git-lfs pointer, not the file it points to": "run git lfs pull",
    "a prototxt": "the net's text goes first, its weights second",
}


def _is_text(head: bytes) -> bool:
    """No control characters and mostly ASCII, whatever the encoding of the rest."""
    ascii_count = sum(byte < 0x80 for byte in head)
    return not re.search(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]", head) and 2 * ascii_count > len(head)


def identify(head: bytes) -> tuple[str, str | None] | None:
    """What the first bytes of a file say it is, and a hint if there is one; None if they say nothing."""
    if not head:
        return "an empty file", "copy or download it again"
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind, _HINTS.get(kind, "unpack it first" if kind.endswith("archive") else None)
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it first"
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a Python pickle", None
    if not head.strip(b"\x00"):
        return "nothing but zeros", "copy or download it again"
    if not _is_text(head):
        return None
    for kind, found in (
        ("an HTML page", _HTML.search(head)),
        ("a prototxt", _PROTOTXT.search(head)),
        ("an XML document", head.lstrip().startswith(b"<?xml")),
        ("a JSON document", head.lstrip()[:1] in (b"{", b"[")),
    ):
        if found:
            return kind, _HINTS.get(kind)
    return "a text file", None
