"""The binary, for the scripts beside this: what PLIMSOLL names, else what cargo makes of the workspace."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def plimsoll(*arguments):
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    run = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"plimsoll {' '.join(arguments)}: {run.stderr.strip()}")
