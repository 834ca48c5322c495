"""The losses' textbook formulas, once for everyone who evaluates them.

    value = formula(words, student, teacher, way=0, temperature=4.0, …)

A formula is written in `words`: exp, log, sum, where, …, over arrays of any kind. The bounds give
numbers that carry their error (`traced.Tape`), a framework gives its own arrays.

    words        the words, and what each means
    steps        what formulas share
    regression, labels, soft_targets, features, relations     the losses, family by family
    known        all of them, by name
"""
