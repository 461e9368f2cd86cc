#!/usr/bin/env python3
"""Judges from outside what the verbs make of the fixtures: onnx.checker, onnxruntime, onnxsim, onnxslim.

    python .ci/judge.py WORK_DIR [TASK_DIR ...]

A task is a folder with model.onnx, calib.npz and test.npz; without any, both fixtures are taken. Ends with 1 at the first claim that does not hold.
"""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def plimsoll(*args, code=0):
    run = subprocess.run(["cargo", "xtask", *args], cwd=ROOT, capture_output=True, text=True)
    if run.returncode != code:
        raise SystemExit(f"cargo xtask {' '.join(args)} ended with {run.returncode}, not {code}:\n{run.stdout}{run.stderr}")
    return run.stdout


def scores(path, inputs, n):
    """First output for the first n samples."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fixed = session.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) and fixed > 0 else 64
    names = [i.name for i in session.get_inputs()]
    starts = range(0, n - n % batch if batch == fixed else n, batch)
    return np.concatenate([session.run(None, {k: inputs[k][i:i + batch] for k in names})[0] for i in starts])


def claim(holds, text):
    print(("holds  " if holds else "BROKEN ") + text, flush=True)
    if not holds:
        raise SystemExit(1)


def fewest_nodes_of_peers(path):
    """What onnxsim and onnxslim leave; one that fails on the model does not count."""
    counts = {}
    try:
        import onnxsim
        counts["onnxsim"] = len(onnxsim.simplify(onnx.load(path))[0].graph.node)
    except Exception as error:
        print(f"       onnxsim failed: {str(error)[:100]}")
    try:
        import onnxslim
        counts["onnxslim"] = len(onnxslim.slim(onnx.load(path)).graph.node)
    except Exception as error:
        print(f"       onnxslim failed: {str(error)[:100]}")
    return counts


def judge(task, work):
    name = os.path.basename(os.path.normpath(task))
    model, calib, test = (os.path.join(task, f) for f in ("model.onnx", "calib.npz", "test.npz"))
    archive = np.load(test)
    label = archive["label"]
    inputs = {k: archive[k] for k in archive.files if k not in ("label", "group")}
    reference = scores(model, inputs, len(label))
    n = len(reference)
    accuracy = float((reference.argmax(1) == label[:n]).mean())

    found = json.loads(plimsoll("evaluate", model, "--data", test, "--json"))
    ours = {f["metric"]: f["value"] for f in found["figures"]}
    claim(n < len(label) or abs(ours["accuracy"] - accuracy) < 5e-5, f"{name}: accuracy {ours['accuracy']:.4f} as in onnxruntime ({accuracy:.4f})")
    inspected = json.loads(plimsoll("inspect", model, "--json"))
    claim(len(inspected["nodes"]) == len(onnx.load(model).graph.node), f"{name}: inspect shows every node")
    claim({"macs", "params", "bytes", "peak_activation_bytes"} <= set(inspected["totals"]), f"{name}: inspect shows the totals")

    def made(verb, *options):
        out = os.path.join(work, f"{name}-{'-'.join([verb, *options]).replace('--', '').replace('%', '')}.onnx")
        plimsoll(verb, model, "-o", out, *options, *(["--data", calib] if verb == "quantize" else []))
        onnx.checker.check_model(out, full_check=True)
        return out, scores(out, inputs, n), os.path.getsize(out)

    size = os.path.getsize(model)
    simple, found, _ = made("simplify")
    close = np.abs(found - reference).max() <= 1e-4 * max(1.0, np.abs(reference).max())
    claim(close, f"{name}: simplify keeps the scores")
    nodes = len(onnx.load(simple).graph.node)
    peers = fewest_nodes_of_peers(model)
    claim(all(nodes <= count for count in peers.values()), f"{name}: simplify leaves {nodes} nodes; peers {peers}")
    for options in (["--scheme", "f16"], ["--scheme", "int8-weights"], ["--scheme", "int8"], ["--scheme", "int8", "--granularity", "per-tensor"]):
        _, found, bytes_ = made("quantize", *options)
        agreement = float((found.argmax(1) == reference.argmax(1)).mean())
        right = float((found.argmax(1) == label[:n]).mean())
        claim(bytes_ < size and agreement > 0.9, f"{name}: {' '.join(options)}: {bytes_ / size:.2f} of the bytes, agreement {agreement:.4f}, accuracy {right:.4f} ({accuracy:.4f})")
    pruned, found, bytes_ = made("prune", "--remove-macs", "30%")
    before, after = (json.loads(plimsoll("inspect", m, "--json"))["totals"]["macs"] for m in (model, pruned))
    share = 1 - after / before
    claim(0.3 <= share <= 0.32 and bytes_ < size, f"{name}: prune removed {share:.3f} of the MACs, {bytes_ / size:.2f} of the bytes are left")
    sparse, _, _ = made("prune", "--sparsity", "50%")
    plimsoll("bench", pruned, "--baseline", model, "--data", test, "--budget", "1", "--json")


def main():
    work, tasks = sys.argv[1], sys.argv[2:]
    tasks = [os.path.abspath(t) for t in tasks] or [os.path.join(ROOT, "fixtures", t) for t in ("sleep-wake", "digits")]
    for task in tasks:
        judge(task, os.path.abspath(work))


if __name__ == "__main__":
    main()
