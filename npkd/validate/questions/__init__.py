"""What a framework is asked: programs, and the numbers that they start from.

numbers      the numbers, and what questions share
ops, losses, updates, data, nets     the questions, by what they are about
subjects     all of them, by name
at_random    one op or loss with random shapes
exactness    the proof that exact cases are
exchange     cases as files, and results as files
sense        which cases from files make sense: what npkd can compute, within limits
"""
