#!/usr/bin/env python3
"""The three pairs of docs/contracts.md: accuracy of the adapted models beside the originals', in both executors.

    python docs/check_pairs.py --data DIR

Needs .ci/requirements.txt and cargo, or the path of the binary in the environment variable PLIMSOLL. DIR holds the folders sleepwake,
cifar-resnet8 and magika, each with model.onnx and test.npz (what they are of says docs/contracts.md). Makes of the test inputs what each
pipeline delivers, adapts by docs/examples/contract-*.toml with the first 64 of them recorded, and evaluates. Prints a line a pair and
executor, with the operators that the adapter left. Ends with 1 where the accuracy differs: at all, or for the sleep model, whose
windows have gaps, by more than 0.2 points.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx

from binary import ROOT

PLIMSOLL = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
HEADS = {
    "heart_rate": ([62.0, 3.1, 0.9, 55.0], [9.5, 1.2, 0.4, 7.0]),
    "breathing": ([15.2, 0.8, 0.3, 12.0], [2.3, 0.5, 0.2, 3.0]),
    "movement": ([1.0, 0.4], [4.3, 1.1]),
}


def run(*arguments):
    done = subprocess.run([*PLIMSOLL, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"plimsoll {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def accuracy(model, data, executor):
    found = run("evaluate", model, "--data", data, "--metric", "accuracy", "--executor", executor, "--json")
    return found["figures"][0]["value"]


def bed(test):
    """1 Hz, raw, [n, time, channel]; a tenth of the values missing, and of every 500 means one."""
    draw, raw = np.random.default_rng(7), {}
    for name, (mean, std) in HEADS.items():
        z = test[name].astype(np.float64)
        n, channels, steps = z.shape
        x = np.repeat(z * np.array(std)[:, None] + np.array(mean)[:, None], 5, axis=2).transpose(0, 2, 1)
        gap = draw.random((n, steps, 5, channels)) < 0.1
        gap &= ~gap.all(2, keepdims=True)
        gap |= draw.random((n, steps, 1, channels)) < 0.002
        raw[name] = np.where(gap.reshape(x.shape), np.nan, x).astype(np.float32)
    return raw, 1 - test["label"]


def images(test):
    return {"image": test["input_1"].transpose(0, 3, 1, 2).astype(np.uint8)}, test["label"]


def scaled(test):
    return {"image": (test["input_1"].transpose(0, 3, 1, 2) / 255).astype(np.float32)}, test["label"]


def padded(test):
    return {"content": np.where(test["bytes"] == 256, 255, test["bytes"]).astype(np.uint8)}, test["label"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, metavar="DIR")
    folder = os.path.abspath(parser.parse_args().data)
    floats = lambda text: text.replace('"u8"', '"f32"').replace("range = [0, 255]", "range = [0, 1]", 1)
    same = lambda text: text
    pairs = [
        ("sleepwake", "sleep", same, bed, 0.002),
        ("cifar-resnet8", "images", same, images, 0),
        ("cifar-resnet8", "images", floats, scaled, 0),
        ("magika", "bytes", same, padded, 0),
    ]
    wrong = False
    with tempfile.TemporaryDirectory() as work:
        for task, name, change, deliver, most in pairs:
            model, data = (os.path.join(folder, task, file) for file in ("model.onnx", "test.npz"))
            contract, raw, adapted, simple = (os.path.join(work, f) for f in ("c.toml", "raw.npz", "a.onnx", "s.onnx"))
            arrays, label = deliver(np.load(data))
            np.savez(raw, label=label, **arrays)
            np.savez(os.path.join(work, "recorded.npz"), **{k: v[:64] for k, v in arrays.items()})
            with open(os.path.join(ROOT, "docs", "examples", f"contract-{name}.toml"), encoding="utf-8") as file:
                text = change(file.read()) + '\n[recorded]\ninputs = "recorded.npz"\n'
            with open(contract, "w", encoding="utf-8") as file:
                file.write(text)
            run("simplify", model, "-o", simple, "--json")
            for executor in ("tract", "onnxruntime"):
                found = run("adapt", model, "--contract", contract, "-o", adapted, "--executor", executor, "--json")
                count = lambda path: collections.Counter(n.op_type for n in onnx.load(path).graph.node)
                left = count(adapted) - count(simple)
                before, after = accuracy(model, data, executor), accuracy(adapted, raw, executor)
                differs = abs(before - after) > most + 1e-12
                wrong |= differs
                nodes = ", ".join(f"{n} {op}" for op, n in sorted(left.items())) or "nothing"
                kind = next(iter(arrays.values())).dtype
                print(
                    f"{task} ({kind}) in {executor}: accuracy {before:.4f} before, {after:.4f} adapted{' DIFFERS' if differs else ''}; "
                    f"proof on {found['proof']['samples']} samples; more than simplified: {nodes}"
                )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
