"""How fast npkd is, how well its judge judges, how many digits its losses keep.

speed/     npkd beside PyTorch, JAX and other NumPy code on the same work: `python -m benchmarks`
verdicts/  right and wrong programs, judged: `python -m benchmarks.verdicts`
accuracy   the small net under each loss, on the same budget
digits     losses beside their formulas at hundreds of digits
figures    which code the figures in READMEs were measured with
tables     rows as text
results/   tables of figures, as commands write them
"""
