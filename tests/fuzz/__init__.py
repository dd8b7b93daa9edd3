"""Fuzzers for everything that reads what strangers write, and for the configuration.

    python -m tests.fuzz json --seconds 600      one of them
    python -m tests.fuzz all --seconds 10        each of them
    python -m tests.fuzz json --replay FILE      what one of them found, once more

They are guided by coverage and need atheris (`pip install -e '.[fuzz]'`); replaying does not. A
finding is kept in a file that the last lines name. Nothing else is kept: the seeds stand beside
what they try.

    __main__    the command line          targets/    one module each: seeds, and what must hold
    engine      atheris, in a process of its own
"""
