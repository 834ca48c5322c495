"""The page where one touches the gradient: a finished run, to be looked into and tried.

    contents.py  what the page holds: two nets with their weights, images, npkd's own numbers
    ops.js       the ops, as npkd.ops has them, for one image
    losses.js    the losses on outputs, as npkd.losses has them, and in complex numbers
    elements.js  what the page is built of: elements, numbers in words, maps, tables, curves
    walk.js      backward, cell by cell
    check.js     a step, the gradient checked, and the numbers beside npkd's
    page.js      what a person chooses, and what follows from it
    style.css    how it looks
    page.py      explore.html, of all of these
    command.py   `npkd explore`

In Python:

    explore.write("runs/mnist5k-0")         # runs/mnist5k-0/explore.html
"""

from npkd.explore.page import write

__all__ = ["write"]
