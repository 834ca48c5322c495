"""The verdict on what was found.

verdicts     what is said of each tensor; the report
trial        one case with its results: what is found, compared
causes       which fault explains what is wrong
judge        how it is decided
page         the report as a page
"""
