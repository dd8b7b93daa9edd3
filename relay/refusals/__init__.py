"""Refusals that can be mended: keeping what an allowed sender was refused, and releasing it.

    keeper        notes refused deliveries behind the answers, within bounds
    desk          verifies a kept one anew and stores it as an event
    shown         both as people and scripts see them

A wrong key, a clock that was off or a rule that was too narrow refuses what is genuine. Once the
configuration is mended, the received bytes can be verified again; nothing else releases them.
"""
