#!/usr/bin/env python3
"""Writes a depthwise separable network of the shape that spots keywords, with random weights: for speed, not for accuracy.

    python docs/make_ds_cnn.py DIR

49 × 10 input, convolution 10 × 4 with stride 2 to 64 channels, four blocks of depthwise 3 × 3 and pointwise convolution, average,
12 classes (the DS-CNN of Zhang et al. 2017, arXiv 1711.07128, as MLPerf Tiny has it, normalization folded). DIR gets model.onnx,
and calib.npz and test.npz whose labels are the model's own classes.
"""
import os
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

CHANNELS, BLOCKS, CLASSES = 64, 4, 12


def model(rng):
    nodes, weights = [], []

    def add(name, shape, gain=2.0):
        fan_in = int(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(rng.normal(0, np.sqrt(gain / fan_in), shape).astype(np.float32), name))
        return name

    def conv(x, name, shape, group=1, **attributes):
        bias = numpy_helper.from_array(rng.normal(0, 0.1, shape[0]).astype(np.float32), f"{name}.bias")
        weights.append(bias)
        nodes.append(helper.make_node("Conv", [x, add(f"{name}.weight", shape), bias.name], [name], name, group=group, **attributes))
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu"))
        return f"{name}.relu"

    x = conv("features", "stem", (CHANNELS, 1, 10, 4), strides=[2, 2], pads=[4, 1, 5, 1])
    for i in range(BLOCKS):
        x = conv(x, f"block{i}.depthwise", (CHANNELS, 1, 3, 3), group=CHANNELS, pads=[1, 1, 1, 1])
        x = conv(x, f"block{i}.pointwise", (CHANNELS, CHANNELS, 1, 1))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], "pooled"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flat"))
    weights.append(numpy_helper.from_array(np.zeros(CLASSES, np.float32), "dense.bias"))
    nodes.append(helper.make_node("Gemm", ["flat", add("dense.weight", (CLASSES, CHANNELS), 40.0), "dense.bias"], ["scores"], "dense", transB=1))
    graph = helper.make_graph(
        nodes,
        "ds-cnn",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1, 49, 10])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(7)
    made = model(rng)
    onnx.checker.check_model(made, full_check=True)
    path = os.path.join(folder, "model.onnx")
    onnx.save(made, path)
    running = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for name, n in (("calib", 128), ("test", 1000)):
        features = rng.normal(0, 1, (n, 1, 49, 10)).astype(np.float32)
        label = running.run(None, {"features": features})[0].argmax(1)
        np.savez(os.path.join(folder, f"{name}.npz"), features=features, label=label)


if __name__ == "__main__":
    main()
