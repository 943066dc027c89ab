"""What the catalog says about one rule.

Built by the ``catalog_*`` modules; read through ``catalog``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet

ExampleKind = Literal["jsonl", "csv", "words"]
Severity = Literal["error", "warning"]

CHECKED_RULE_SETS: tuple[RuleSet, ...] = ("strict", "standard")
"""The rule sets that look inside fine-tuning records."""

_REPEAT = re.compile(r"<<(.+?) x ([\d,]+)>>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, as a person reads about it.

    Attributes:
        code: how reports name it (``message.role``).
        summary: what must hold, as one short clause.
        explanation: what exactly is asked, and why.
        advice: what to do about a file that breaks it.
        good: an example that keeps the rule.
        bad: an example that breaks it.
        example_kind: ``jsonl`` and ``csv`` examples are the text of a small file (see
            ``written_out``); ``words`` describe what cannot be shown as text.
        rule_sets: the rule sets it belongs to.
        purposes: the purposes it applies to.
        severity: an ``error`` makes a file invalid, a ``warning`` does not.
    """

    code: str
    summary: str
    explanation: str
    advice: str
    good: str
    bad: str
    example_kind: ExampleKind = "words"
    rule_sets: tuple[RuleSet, ...] = RULE_SETS
    purposes: tuple[Purpose, ...] = PURPOSES
    severity: Severity = "error"


def written_out(example: str) -> str:
    """Write out what an example abbreviates: ``<<A x 1,000>>`` stands for a thousand As."""
    return _REPEAT.sub(lambda mark: mark[1] * int(mark[2].replace(",", "")), example)
