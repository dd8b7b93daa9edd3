"""Why a captured request is taken or refused: every step, judged by the parts that would judge it.

    capture       the bytes of a file become a request, read by the edge's own reader
    walk          the steps, in the order of the edge
    nearest_miss  what would have had to be otherwise

A verdict is never made here. The parts of the relay are asked, with the configuration as it is, and
asked again with one thing changed.
"""
