#!/usr/bin/env python3
"""Recurrent layers with int8 weights: what is left of their outputs, in onnxruntime and in tract.

    python docs/check_recurrent.py [--scheme NAME]...

Needs .ci/requirements.txt and cargo, or the path of the binary in the environment variable PLIMSOLL. Makes LSTM, GRU and RNN models,
forward and bidirectional, with normally distributed weights and sequences that move slowly, as signals do; quantizes them by each
scheme [int8-weights, int8] with 128 samples, and runs 128 others. Prints one line each: size, and the relative error of
the outputs against the float32 model in onnxruntime. Ends with 1 where it is more than 1 % in either executor.
"""
import argparse
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from binary import plimsoll

STEPS, WIDTH, HIDDEN = 24, 32, 64
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
MOST = 0.01


def model(operator, directions, path):
    draw = np.random.default_rng(len(operator) * 10 + directions)
    rows = GATES[operator] * HIDDEN
    weights = {
        "w": draw.normal(0, WIDTH**-0.5, (directions, rows, WIDTH)),
        "r": draw.normal(0, HIDDEN**-0.5, (directions, rows, HIDDEN)),
        "b": draw.normal(0, 0.1, (directions, 2 * rows)),
    }
    direction = "bidirectional" if directions == 2 else "forward"
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(operator, ["t", "w", "r", "b"], ["y"], hidden_size=HIDDEN, direction=direction),
        helper.make_node("Transpose", ["y"], ["u"], perm=[2, 0, 1, 3]),
        helper.make_node("Flatten", ["u"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", STEPS, WIDTH])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", STEPS * directions * HIDDEN])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def sequences(seed):
    """Autoregressive signals of common and own parts."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(128, STEPS, WIDTH)) + draw.normal(size=(128, STEPS, 1))
    for step in range(1, STEPS):
        noise[:, step] = 0.8 * noise[:, step - 1] + 0.6 * noise[:, step]
    return noise.astype(np.float32)


def in_onnxruntime(path, x):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].astype(np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheme", action="append")
    worst = 0.0
    schemes = parser.parse_args().scheme or ["int8-weights", "int8"]
    with tempfile.TemporaryDirectory() as work:
        at = lambda name: os.path.join(work, name)
        test = sequences(2)
        np.savez(at("calib.npz"), x=sequences(1))
        np.savez(at("test.npz"), x=test)
        for operator in GATES:
            for directions in (1, 2):
                model(operator, directions, at("model.onnx"))
                expected = in_onnxruntime(at("model.onnx"), test)
                for scheme in schemes:
                    plimsoll("quantize", at("model.onnx"), "-o", at("out.onnx"), "--data", at("calib.npz"), "--scheme", scheme)
                    onnx.checker.check_model(onnx.load(at("out.onnx")), full_check=True)
                    plimsoll("evaluate", at("out.onnx"), "--data", at("test.npz"), "--baseline", at("model.onnx"), "--save-scores", at("s.npy"))
                    error = lambda found: float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
                    errors = [error(in_onnxruntime(at("out.onnx"), test)), error(np.load(at("s.npy")))]
                    sizes = [os.path.getsize(at(f)) for f in ("model.onnx", "out.onnx")]
                    print(
                        f"{operator:<5} x{directions} {scheme:<13} {sizes[0]:>7} → {sizes[1]:>6} bytes   "
                        f"error in onnxruntime {errors[0]:.2%}, in tract {errors[1]:.2%}",
                        flush=True,
                    )
                    worst = max(worst, *errors)
    sys.exit(worst > MOST)


if __name__ == "__main__":
    main()
