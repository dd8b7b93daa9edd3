"""The command line."""


def main() -> None:
    """Run the `relay` command."""
