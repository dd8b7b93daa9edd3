"""The parts of the SQLite spool; `relay.spool.sqlite` puts them together.

files, connections, migrations: the file, how it is opened, and the shape of its tables.
faults: which errors pass and which end the spool.
writer, reader: the two threads that work on it.
rows, seals: events as they lie in the table, and the checksum over them.
intake, leases, history, upkeep: the statements, one module a use.
bells: waking those who wait for work.
"""
