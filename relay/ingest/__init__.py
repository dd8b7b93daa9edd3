"""A delivery on its way in: admit, verify, store or pass on, acknowledge."""
