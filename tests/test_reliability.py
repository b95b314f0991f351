"""docs/reliability.md: each of the 25 complaints names a test that is collected, or says what is missing."""

import re
import subprocess
import sys

from building.steps import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in (ROOT / "docs/reliability.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]


def test_the_table_is_whole() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 26))
    for row in ROWS:
        assert len(row) == 5 and row[1].endswith(".") and row[2].endswith("."), row[0]
        assert row[3] or row[4], row[0]


def test_every_test_that_is_named_is_collected() -> None:
    named = {test for row in ROWS for test in re.findall(r"`(tests/[^`]+)`", row[3])}
    assert len(named) > 40
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    collected = {line.partition("[")[0] for line in done.stdout.splitlines()}
    assert named <= collected, done.stdout[-2000:]
