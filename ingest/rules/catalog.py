"""Every rule by its code, for people and for report formats.

``ingest rules`` lists and explains them; SARIF reports carry them as rule descriptors. A code that
is not here must not be reported, which ``tests/rules`` checks against the rules themselves.
"""

from __future__ import annotations

import difflib

from ingest.rules.catalog_files import FILE_RULES
from ingest.rules.catalog_formats import BATCH_RULES, CSV_RULES, PARQUET_RULES, WARNINGS
from ingest.rules.catalog_records import RECORD_RULES
from ingest.rules.rule import Rule, written_out

__all__ = ["RULES", "Rule", "find_rule", "similar_codes", "written_out"]

RULES: tuple[Rule, ...] = (
    *FILE_RULES,
    *RECORD_RULES,
    *PARQUET_RULES,
    *CSV_RULES,
    *BATCH_RULES,
    *WARNINGS,
)
"""All rules, in the order in which a file meets them."""

_BY_CODE = {rule.code: rule for rule in RULES}


def find_rule(code: str) -> Rule | None:
    """Return the rule with this code, if there is one."""
    return _BY_CODE.get(code)


def similar_codes(code: str) -> list[str]:
    """Codes that someone who typed ``code`` may have meant, the likeliest first."""
    endings = [known for known in _BY_CODE if known.split(".")[1] == code]
    return endings or difflib.get_close_matches(code, _BY_CODE, n=3, cutoff=0.6)
