#!/usr/bin/env python3
"""How long `evaluate` takes in tract beside onnxruntime: wall time of the whole command, on two threads.

    python docs/compare_evaluate.py [--repeat N] TASK_DIR ...

A task is a folder with model.onnx and test.npz, arrays named as the inputs. Needs .ci/requirements.txt and cargo, or the path of the
binary in the environment variable PLIMSOLL; the Python that runs this must come first on the path, as onnxruntime's library is taken from
it. The executors take turns, and medians are compared: the ratios hold for one machine, and only where nothing else runs on it. Ends
with 1 where the executors' accuracies differ by more than one sample in a thousand.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from binary import ROOT

EXECUTORS = ("tract", "onnxruntime")


def evaluate(task, executor):
    """Seconds of the whole command, and the accuracy that it finds."""
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    command += ["evaluate", os.path.join(task, "model.onnx"), "--data", os.path.join(task, "test.npz")]
    command += ["--executor", executor, "--threads", "2", "--json"]
    start = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    took = time.perf_counter() - start
    if ran.returncode:
        sys.exit(f"{' '.join(command)}: {ran.stderr.strip()}")
    return took, next(f["value"] for f in json.loads(ran.stdout)["figures"] if f["metric"] == "accuracy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="+")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    apart = False
    print("| task | tract | onnxruntime | tract ÷ onnxruntime |\n|---|--:|--:|--:|")
    for task in map(os.path.abspath, arguments.task):
        times, accuracy = {e: [] for e in EXECUTORS}, {}
        for turn in range(arguments.repeat):
            for executor in EXECUTORS if turn % 2 == 0 else EXECUTORS[::-1]:
                took, accuracy[executor] = evaluate(task, executor)
                times[executor].append(took)
        tract, theirs = (statistics.median(times[e]) for e in EXECUTORS)
        print(f"| {os.path.basename(task)} | {tract:.2f} s | {theirs:.2f} s | {tract / theirs:.2f} |", flush=True)
        apart |= abs(accuracy["tract"] - accuracy["onnxruntime"]) > 0.001
    sys.exit(apart)


if __name__ == "__main__":
    main()
