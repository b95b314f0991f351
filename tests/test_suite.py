"""The suite is whole: what is called a test is collected."""

import subprocess
import sys

from building.steps import ROOT


def test_every_file_of_tests_is_collected() -> None:
    """pytest leaves folders of certain names out (`norecursedirs`: build, dist, venv ...) without a word."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    collected = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert files == collected
