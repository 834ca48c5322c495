"""Frameworks that are asked the judge's questions."""
