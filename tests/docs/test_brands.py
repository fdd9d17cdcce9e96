"""No brand in a condition: what is peculiar to a provider has the name of a trait, a switch or a quirk."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "mailtwin"
BRAND = re.compile(r"\bgmail", re.IGNORECASE)

MAY_SAY_IT = {
    "cli/demo.py": "runs on the simulator, and tells the reader how to go on from there",
    "imap/quirks.py": "the evidence: which server was seen to do what",
    "stores/providers.py": "what is documented of a provider's limits, chosen by what its server announces",
    "testing": "the simulator",
}


def test_the_word_is_kept_out_of_everything_else() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if BRAND.search(path.read_text(encoding="utf-8"))
    }
    assert {name if name in MAY_SAY_IT else name.split("/")[0] for name in found} == set(MAY_SAY_IT)


def test_quirks_say_it_as_evidence_only() -> None:
    """Within a string, never in a name or a condition."""
    code = re.sub(r'"[^"\n]*"', "", (SOURCE / "imap" / "quirks.py").read_text(encoding="utf-8"))
    assert not BRAND.search(code)
