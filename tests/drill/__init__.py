"""Kills, and what they leave behind.

``aftermath`` says what must hold after any kill, for the tests of the pipeline too. ``killed_at``
makes exact kills for them. The drill itself, ``python -m tests.drill``, kills at random moments.
"""
