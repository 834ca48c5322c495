"""Known faults: what a wrong program would give in the place of a right one.

fault        what a fault is, and how its rules are made
of_losses, of_layers, of_updates, of_data    the faults, by what they are of
known        all of them
"""
