"""Tests of finding and reading sources."""
