"""How exact a framework's operators are, as tables do it for mathematical libraries.

    grid        the numbers that functions of one number are tried on
    right       what is right: functions in float64, and how far off that may be
    questions   what is computed, each with what is right
    ulps        found beside right, number by number: errors in ulp, and what is wrong otherwise
    measuring   the figures of one framework
    files       the same as JSON, and back
    table, page a table over several frameworks: as text, and on a page

An ulp is the distance of float32 numbers at the right result: 0.5 is a result that is rounded
correctly. The largest error on a grid is a lower bound on the largest there is.
"""
