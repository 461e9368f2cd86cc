#!/usr/bin/env python3
"""How much memory `evaluate` takes for an archive that is larger than it.

    python docs/large_npz.py [--gigabytes 3] [--folder DIR]

Makes pictures of noise, 3 x 128 x 128 floats each, in an npz once stored and once deflated, and a small model of them; evaluates it
beside a copy as its baseline, and prints the time and the most resident memory that any one process of the command had. Needs
.ci/requirements.txt, room for both archives, and cargo or the path of the binary in the environment variable PLIMSOLL.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from binary import ROOT

SAMPLE = (3, 128, 128)
SLICE = 256


def model(path):
    weight = np.eye(2, 3, dtype=np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "pictures",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SAMPLE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)


def archive(path, samples, method):
    """Written in slices, so that this needs no memory either."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as out:
        with out.open("x.npy", "w", force_zip64=True) as array:
            header = {"descr": "<f4", "fortran_order": False, "shape": (samples, *SAMPLE)}
            np.lib.format.write_array_header_1_0(array, header)
            for start in range(0, samples, SLICE):
                # Whole numbers, which deflate as pictures do.
                pictures = random.integers(0, 256, (min(SLICE, samples - start), *SAMPLE), dtype=np.uint8)
                array.write(pictures.astype(np.float32).tobytes())
        for name, values in (("label", np.arange(samples) % 2), ("group", np.arange(samples) // 100)):
            with out.open(f"{name}.npy", "w") as array:
                np.lib.format.write_array(array, values)


def evaluate(folder, data):
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    path = os.path.join(folder, "model.onnx")
    command += ["evaluate", path, "--baseline", path, "--data", data, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    samples = max(1, int(arguments.gigabytes * 1e9 / (4 * np.prod(SAMPLE))))
    print("| members | samples | bytes of inputs | file | seconds | most resident memory |\n|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model(os.path.join(folder, "model.onnx"))
        for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
            data = os.path.join(folder, f"{name}.npz")
            archive(data, samples, method)
            seconds, resident = evaluate(folder, data)
            size = [samples * 4 * np.prod(SAMPLE) / 1e9, os.path.getsize(data) / 1e9]
            print(f"| {name} | {samples} | {size[0]:.2f} GB | {size[1]:.2f} GB | {seconds:.0f} | {resident:.0f} MiB |", flush=True)
            os.remove(data)


if __name__ == "__main__":
    main()
