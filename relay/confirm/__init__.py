"""Asking a provider whether what was said in its name is so.

A notification of Midtrans signs three of its fields, and its status is none of them. Its API says
what a transaction's status is now. `status` reads what it answers and decides, by the `states` a
transaction can move through, without I/O; `client` asks; `pace` bounds how often; `confirmer` puts
them together before a delivery. `relay.reconcile` asks the same for events that never came.
"""
