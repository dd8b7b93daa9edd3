"""Explain why a captured request or a kept refusal is accepted or refused, by relay's own parts.

    capture       parse the file with the edge's own reader
    walk          run the request through every step, in the order of the edge
    refusal       the same of a kept refusal
    steps         the steps that both have
    judge         what is stored, judged by another configuration without the steps
    replay        a whole spool, and which verdicts would change
    nearest_miss  find a change under which it would verify; rewritten_body, near_path and
                  near_address have the changes of bodies, paths and addresses
    likely_cause  what is likely wrong where there is none

No check is implemented here. The parts of the relay are called with the configuration as it is, and
once more with one thing changed.
"""
