"""Bugs of released frameworks that the judge found: each in a few lines of the framework alone."""
