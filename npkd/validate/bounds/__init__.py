"""How far rounding may take a right computation, whoever makes it: proved for each operation.

rounding     arithmetic that carries its bound along
traced       the same for whole formulas, with their gradients
formulas     the losses with their bounds
elementwise  additions, products, moves: what users' own programs consist of
rules        every operation with its bound
"""
