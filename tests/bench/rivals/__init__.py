"""What relay is compared with, in small configurations: the same upstream, networks and check."""

from pathlib import Path

_HERE = Path(__file__).parent


def filled(name: str, directory: Path, **values: str) -> Path:
    """Copy a configuration of this folder, with `@NAME@` replaced; return where it is.

    `@DIRECTORY@` is where it goes.
    """
    text = (_HERE / name).read_text()
    for key, value in {**values, "DIRECTORY": str(directory)}.items():
        text = text.replace(f"@{key}@", value)
    path = directory / name
    path.write_text(text)
    return path
