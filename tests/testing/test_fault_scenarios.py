"""Scenario files are read strictly; those that are shipped say what they do, and each rule's class is used by one."""

from __future__ import annotations

from typing import get_args

import pytest

from mailtwin.testing.faultproxy import (
    CONNECTION,
    Cut,
    Do,
    Duplicate,
    Rule,
    ScenarioError,
    StripCapabilities,
    When,
    parse,
)
from mailtwin.testing.faults.__main__ import scenarios

GOOD = """
about = "Something."
seed = 7

[[rule]]
do = "cut"
on = ["append", "UID COPY"]
when = "executed"
nth = 2
times = "always"
probability = 0.5
about = "Subject: x\\r\\n"
reset = true

[[rule]]
do = "strip-capabilities"
names = ["UIDPLUS"]
"""


def test_a_scenario() -> None:
    scenario = parse(GOOD, "some")
    assert (scenario.name, scenario.about, scenario.seed) == ("some", "Something.", 7)
    assert scenario.rules == (
        Rule(Cut(reset=True), ("APPEND", "UID COPY"), When.EXECUTED, 2, None, 0.5, "Subject: x\r\n"),
        Rule(StripCapabilities(("UIDPLUS",)), (CONNECTION,)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about = ", "some: "),
        ("seed = 1", "about is a sentence"),
        ('about = "x"\nseed = "1"', "seed a number"),
        ('about = "x"\nfolder = 1', "unknown key folder"),
        ('about = "x"\n[[rule]]\ndo = "explode"', "rule 1: do is one of add-code, answer"),
        ('about = "x"\n[[rule]]\ndo = "cut"\nbyte = 1', "rule 1: cut has no byte"),
        ('about = "x"\n[[rule]]\ndo = "cut-at-byte"', "rule 1: cut-at-byte needs byte"),
        ('about = "x"\n[[rule]]\ndo = "cut"\nwhen = "later"', "rule 1: 'later' is not a valid When"),
        ('about = "x"\n[[rule]]\ndo = "cut"\nwhen = "executed"', "rule 1: a connection has no other moments"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse(text, "some")


def test_the_shipped_scenarios_use_all_there_is() -> None:
    found = scenarios()
    assert len({scenario.name for scenario in found}) == len(found)
    assert all(scenario.about.endswith(".") for scenario in found)
    used = {type(rule.do) for scenario in found for rule in scenario.rules}
    assert used == set(get_args(Do))
    assert Duplicate in used
    moments = {rule.when for scenario in found for rule in scenario.rules}
    assert moments == set(When)
