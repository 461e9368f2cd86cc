#!/usr/bin/env python3
"""Holds tract and onnxruntime against each other: the same quantized file, sample by sample.

    python docs/compare_executors.py [--scheme NAME]... [TASK_DIR ...]

A task is a folder with model.onnx, calib.npz and test.npz, arrays named as the inputs; without any, both fixtures are taken. Needs
.ci/requirements.txt and cargo, or the path of the binary in the environment variable PLIMSOLL. Quantizes each task's model by each scheme [int8, int8-dynamic, int8-weights, f16], takes the first
output of every test sample in both executors, and prints one line each: the share of samples to which both give the same class,
and the relative error between the outputs. Ends with 1 where the classes of more than one sample in a thousand differ. On x86 without
VNNI, where onnxruntime's sums of u8·i8 products saturate, int8 weights are kept to 7 bits.
"""
import argparse
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

from binary import ROOT, plimsoll

SCHEMES = ["int8", "int8-dynamic", "int8-weights", "f16"]
LEAST = 0.999


def saturates():
    """Whether pairs of u8·i8 products are added in 16 bits: x86 with AVX2 that has no VNNI."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            flags = info.read()
    except OSError:
        return False
    return "avx2" in flags and "vnni" not in flags


def in_onnxruntime(path, inputs, n):
    """First output of every sample, in the batches that `evaluate` runs: scales found at run time are those of a batch."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # By default products with stored weights round their other operand to 8 bits, which the file does not ask for.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    running = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    first = running.get_inputs()[0].shape[0]
    convolves = any("Conv" in node.op_type for node in onnx.load(path).graph.node)
    batch = first if isinstance(first, int) and first > 0 else 1 if convolves else 32
    parts = []
    for i in range(0, n, batch):
        at = np.minimum(np.arange(i, i + batch), n - 1)
        parts.append(running.run(None, {k.name: inputs[k.name][at] for k in running.get_inputs()})[0])
    return np.concatenate(parts)[:n].astype(np.float64)


def compare(model, calib, test, scheme, work):
    """Agreement of classes, and relative error of outputs, between the executors."""
    out, scores = os.path.join(work, f"{scheme}.onnx"), os.path.join(work, f"{scheme}.npy")
    narrower = ["--reduce-range"] if scheme == "int8" and saturates() else []
    plimsoll("quantize", model, "-o", out, "--data", calib, "--scheme", scheme, *narrower)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    plimsoll("evaluate", out, "--data", test, "--save-scores", scores)
    archive = np.load(test)
    inputs = {k: archive[k] for k in archive.files if k not in ("label", "group")}
    tract = np.load(scores)
    ours = in_onnxruntime(out, inputs, len(tract)).reshape(len(tract), -1)
    if ours.shape[1] == 1:
        tract = tract[:, 1:]
        threshold = 0.5 if ((ours >= 0) & (ours <= 1)).all() else 0.0
        same = (tract > threshold) == (ours > threshold)
    else:
        same = tract.argmax(1) == ours.argmax(1)
    return float(same.mean()), float(np.linalg.norm(tract - ours) / np.linalg.norm(ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="*")
    parser.add_argument("--scheme", action="append")
    arguments = parser.parse_args()
    tasks = arguments.task or [os.path.join(ROOT, "fixtures", name) for name in ("sleep-wake", "digits")]
    worst = 1.0
    for task in map(os.path.abspath, tasks):
        model, calib, test = (os.path.join(task, f) for f in ("model.onnx", "calib.npz", "test.npz"))
        for scheme in arguments.scheme or SCHEMES:
            with tempfile.TemporaryDirectory() as work:
                agreement, error = compare(model, calib, test, scheme, work)
            print(f"{os.path.basename(task):<16} {scheme:<14} agreement {agreement:.4f}  relative error {error:.1e}", flush=True)
            worst = min(worst, agreement)
    sys.exit(worst < LEAST)


if __name__ == "__main__":
    main()
