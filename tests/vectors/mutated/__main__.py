"""Record the outcomes of the present code."""

from tests.vectors.mutated import CHUNK, MESSAGES, VERDICTS, line, outcomes
from tests.vectors.mutated.senders import SENDERS

if __name__ == "__main__":
    VERDICTS.mkdir(exist_ok=True)
    for name, writer in SENDERS.items():
        chunks = (range(first, first + CHUNK) for first in range(0, MESSAGES, CHUNK))
        lines = [line([*outcomes(name, writer, numbers)]) + "\n" for numbers in chunks]
        (VERDICTS / f"{name}.txt").write_text("".join(lines), "ascii")
