"""Labels as flags: where a message carries labels, they are one more set per message, merged as flags are.

A label is told from every flag by its spelling, `label(Work/2024)`: no server can write a flag with a parenthesis in it
(RFC 9051 section 9, `atom-specials`). What cannot hold labels (`Vocabulary.labels`) neither gets them nor is taken for
having removed them.

A label's own text is Unicode, and begins with a backslash where the label is the server's (`\\Inbox`).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from mailtwin.model.flags import LABEL_PREFIX, NO_FLAGS, Flags, make_flags

LABEL_CHARS_MAX = 1_000
"""One label: a provider takes 225 characters."""


def label_flag(label: str) -> str:
    """The flag that stands for `label`. White space and control characters in it are written as `%20` and the like, so
    that spaces go on separating flags."""
    return f"{LABEL_PREFIX}{escaped(label, ' ')})"


def label_in(flag: str) -> str | None:
    """The label that `flag` stands for; None for a flag that is none. The inverse of `label_flag`."""
    if not is_label(flag):
        return None
    return unescaped(flag[len(LABEL_PREFIX) : -1])


def is_label(flag: str) -> bool:
    """Whether `flag` stands for a label."""
    return flag.startswith(LABEL_PREFIX) and flag.endswith(")")


def label_flags(labels: Iterable[str]) -> Flags:
    """The flags of these labels, without those that are too long to be anybody's."""
    return make_flags(label_flag(label) for label in labels if 0 < len(label) <= LABEL_CHARS_MAX)


def split_labels(flags: Flags) -> tuple[Flags, Flags]:
    """The flags proper, and those that stand for labels."""
    labels = [flag for flag in flags if is_label(flag)]
    if not labels:
        return flags, NO_FLAGS
    of_labels = make_flags(labels)
    return make_flags(flags - of_labels), of_labels


def escaped(text: str, besides: str = "") -> str:
    """`text` in one line: `%`, what is not printable and the characters of `besides` are written as `%20` and the like
    (their UTF-8 bytes). A space is printable."""
    if text.isprintable() and not any(char in text for char in f"%{besides}"):
        return text
    return "".join(
        char if char.isprintable() and char not in f"%{besides}" else _as_bytes(char) for char in text
    )


def unescaped(text: str) -> str:
    """The inverse of `escaped`. A `%` that begins no such byte stands for itself."""
    return unquote(text, errors="surrogatepass") if "%" in text else text


def _as_bytes(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode(errors="surrogatepass"))
