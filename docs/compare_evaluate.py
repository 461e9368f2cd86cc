#!/usr/bin/env python3
"""How long `evaluate` takes in tract beside onnxruntime: wall time of the whole command, on two threads.

    python docs/compare_evaluate.py [--repeat N] TASK_DIR ...

A task is a folder with model.onnx and test.npz, arrays named as the inputs. Needs .ci/requirements.txt and cargo, or the path of the
binary in the environment variable PLIMSOLL; the Python that runs this must come first on the path, as onnxruntime's library is taken from
it. The executors take turns, and medians are compared: the ratios hold for one machine, and only where nothing else runs on it.
Agreement is the share of samples for which both give the same class (the largest score; of a single one, whether it is above the middle
of those of the first executor). Ends with 1 where it is below 0.999.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from binary import ROOT

EXECUTORS = ("tract", "onnxruntime")


def evaluate(task, executor, scores):
    """Seconds of the whole command, and the scores that it writes to a file."""
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    command += ["evaluate", os.path.join(task, "model.onnx"), "--data", os.path.join(task, "test.npz")]
    command += ["--executor", executor, "--threads", "2", "--save-scores", scores]
    start = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    took = time.perf_counter() - start
    if ran.returncode:
        sys.exit(f"{' '.join(command)}: {ran.stderr.strip()}")
    return took, np.load(scores)


def agreement(one, other):
    """The share of samples of the same class."""
    if one.shape[1] > 1:
        return np.mean(one.argmax(1) == other.argmax(1))
    middle = (one.min() + one.max()) / 2
    return np.mean((one > middle) == (other > middle))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="+")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    lowest = 1.0
    print("| task | tract | onnxruntime | tract ÷ onnxruntime | agreement |\n|---|--:|--:|--:|--:|", flush=True)
    for task in map(os.path.abspath, arguments.task):
        times, scores = {e: [] for e in EXECUTORS}, {}
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(arguments.repeat):
                for executor in EXECUTORS if turn % 2 == 0 else EXECUTORS[::-1]:
                    took, scores[executor] = evaluate(task, executor, os.path.join(folder, f"{executor}.npy"))
                    times[executor].append(took)
        tract, theirs = (statistics.median(times[e]) for e in EXECUTORS)
        same = agreement(*(scores[e] for e in EXECUTORS))
        ratio = f"{tract / theirs:.2f}"
        print(f"| {os.path.basename(task)} | {tract:.2f} s | {theirs:.2f} s | {ratio} | {same:.4f} |", flush=True)
        lowest = min(lowest, same)
    sys.exit(lowest < 0.999)


if __name__ == "__main__":
    main()
