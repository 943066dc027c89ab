"""What the fast path counts of the records it accepts.

A module of its own, because ``findings.py``, which a driver imports too, needs nothing else of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(slots=True)
class Parts:
    """What accepted records are made of, for statistics.

    Attributes:
        messages: of all roles; what the other three leave is the tools'.
        images: content items that are images.
    """

    messages: int = 0
    assistants: int = 0
    users: int = 0
    systems: int = 0
    images: int = 0

    def roles(self) -> Counter[str]:
        """How many messages each role has."""
        known = {"assistant": self.assistants, "user": self.users, "system": self.systems}
        return Counter({**known, "tool": self.messages - sum(known.values())})

    def add(self, other: Parts, times: int = 1) -> None:
        """Count what ``other`` has counted; ``times`` is -1 to take it back."""
        self.messages += times * other.messages
        self.assistants += times * other.assistants
        self.users += times * other.users
        self.systems += times * other.systems
        self.images += times * other.images
