"""The readers: lines, slices, merged reports, and the fast path against the exact rules.

in_memory.py   datasets as bytes: a raw stream over them, and their report for any slicing
"""
