"""For the hours in which the edge was away longer than a provider tries: orders are asked about.

`orders` reads which, `memory` knows which were asked about before, `reconciler` asks and stores
what it learns as events. It may run beside `relay run` on the same spool.
"""
