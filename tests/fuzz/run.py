"""Coverage-guided fuzzing of the kernel: `make fuzz`, or `python -m tests.fuzz.run TARGET [--seconds N] [--runs N]`.

Starts from `corpus/TARGET`; what it finds goes to `.fuzz/` (see README.md). Needs atheris, which no test does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.kept import CORPUS, TARGET_NAMES

FOUND = Path(".fuzz")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzzes the IMAP kernel.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGET_NAMES)} (default: all)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs for each target")
    parser.add_argument(
        "--seed", type=int, default=0, help="repeat what this seed did (0: another each time)"
    )
    parser.add_argument("--again", type=Path, metavar="FILE", help="only this input, without a fuzzer")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGET_NAMES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return arguments


def main() -> int:
    """Fuzzes each target in a process of its own; 1 when one of them found something."""
    arguments = _arguments()
    if arguments.again is not None:
        _again(arguments.targets, arguments.again)
        return 0
    if arguments.here:
        _fuzz(arguments.targets[0], arguments)
    failed = []
    for target in arguments.targets or TARGET_NAMES:
        print(f"--- {target}", flush=True)  # noqa: T201
        options = [f"--seconds={arguments.seconds}", f"--runs={arguments.runs}", f"--seed={arguments.seed}"]
        command = [sys.executable, "-m", "tests.fuzz.run", target, *options, "--here"]
        if subprocess.run(command, check=False).returncode:
            failed.append(target)
    if failed:
        print(f"not well: {', '.join(failed)}; see {FOUND}/ and tests/fuzz/README.md")  # noqa: T201
    return 1 if failed else 0


def _again(targets: list[str], path: Path) -> None:
    from tests.fuzz.harnesses import TARGETS

    for target in targets or TARGET_NAMES:
        TARGETS[target](path.read_bytes())


def _fuzz(target: str, arguments: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["mailtwin"]):
        from tests.fuzz.harnesses import INPUT_BYTES_MAX, TARGETS

    (FOUND / target).mkdir(parents=True, exist_ok=True)
    findings = FOUND / "findings"
    findings.mkdir(exist_ok=True)
    options = [
        f"-artifact_prefix={findings}/{target}-",
        f"-max_total_time={arguments.seconds}",
        f"-runs={arguments.runs}",
        f"-seed={arguments.seed}",
        f"-max_len={INPUT_BYTES_MAX // 8 if target == 'cost' else INPUT_BYTES_MAX}",
        f"-dict={CORPUS / 'words.dict'}",
        "-timeout=20",
        "-rss_limit_mb=1500",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(FOUND / target), str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
