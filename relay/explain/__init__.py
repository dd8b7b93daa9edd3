"""Explain why a captured request is accepted or refused, with the relay's own parts.

    capture       parse the file with the edge's own reader
    walk          run the request through every step, in the order of the edge
    nearest_miss  find a change under which it would verify

No check is implemented here. The parts of the relay are called with the configuration as it is, and
once more with one thing changed.
"""
