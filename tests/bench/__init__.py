"""Performance, measured with one command; no figure here is ever asserted by a test.

    python -m tests.bench             relay and its rivals, side by side
    python -m tests.bench fan-out     several upstreams an event, routes, keys and TLS to them
    python -m tests.bench backlog     a million events wait while the upstream is down
    python -m tests.bench stalls      for how long anything holds up the event loop
    python -m tests.bench profile     where the time of one event goes

Machines are noisy, so what counts are ratios between servers within one round of one run. Every
server is up, those that wait are stopped, and each round gives every one of them a slice in a new
random order. A twin of the reference, which differs in nothing, shows how small a difference can
be and still mean something.

    __main__    the command line              comparison, fan_out, backlog, profiling
    slices      rounds, drains, one sample    report, targets                 what is printed
    lanes       what is compared              node, rivals/                   what is started
    load        wrk and its requests          messages                        what they carry
    upstream, counting                        who receives
    stalls, occasions, waits                  what is done beside the health check
    probing, wires                            who asks it, and how
    crowd, kept_spools, naming                what a relay has that is asked
    processes, machine                        where it all runs
"""
