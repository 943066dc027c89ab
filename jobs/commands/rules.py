"""`ingest rules`: what is checked, and what each code means."""

from __future__ import annotations

import click

from ingest.errors import UsageError

EXAMPLES = """
\b
Examples:
  ingest rules
  ingest rules message.role
"""


@click.command("rules", short_help="List the rules, or explain one.", epilog=EXAMPLES)
@click.argument("code", required=False)
def command(code: str | None) -> int:
    """List the rules, or explain one with a good and a bad example."""
    from ingest.rules.catalog import RULES, find_rule, similar_codes

    if code is None:
        width = max(len(rule.code) for rule in RULES)
        for rule in RULES:
            print(f"{rule.code:<{width}}  {rule.summary}")
        return 0
    found = find_rule(code)
    if found is None:
        near = similar_codes(code)
        hint = f"did you mean {' or '.join(near)}?" if near else "`ingest rules` lists them"
        raise UsageError(f"{code}: there is no such rule; {hint}")
    print(f"{found.code}: {found.summary}\n\n{found.explanation}\n\nWhat to do: {found.advice}")
    print(f"Rule sets: {', '.join(found.rule_sets)}")
    for title, example in (("Good", found.good), ("Bad", found.bad)):
        if example:
            print(f"\n{title}:\n  {example}")
    return 0
