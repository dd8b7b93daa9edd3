"""Real things to test against, on loopback; a fake only where the real thing cannot misbehave.

upstream, nameserver: services that answer or misbehave on order, and record what they got.
node, traced_node, restarts: `relay run` as a process: plain, traced or disturbed, again and again.
edge, spying_spool: parts of relay in the test's own process.
consistency, spool_audit: what must be so afterwards, read past relay.
deliveries, wire: configurations, messages, bytes and certificates.
clock: time that moves when told, and polling where nothing can be awaited.
optional_tools: npm and small volumes; tests skip loudly where they are absent.
"""
