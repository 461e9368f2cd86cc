#!/usr/bin/env python3
"""Holds lowered plans against onnxruntime: ONNX's node tests, and whole models.

    python docs/check_lowered.py [TASK_DIR ...]

Needs .ci/requirements.txt and cargo, or in the environment variables PLIMSOLL and COMPARE the paths of the binary and of the example
`compare` of crates/lower. Takes ONNX's node tests of the operators that are lowered, makes weights of all inputs but the first, and
compares the outputs of lowered plans with onnxruntime's on random inputs: within 1e-4 of the largest magnitude, or one step where
they are bytes. Then each task (a folder with model.onnx, calib.npz and test.npz; without any, both fixtures) in float32 and quantized
by int8: classes as with --no-lower and as in onnxruntime for 999 of 1000 samples, accuracy within 0.2 points. Ends with 1 where one
of them is not met.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from binary import ROOT, plimsoll
from compare_executors import in_onnxruntime

OPERATORS = """Abs Add AveragePool Clip Concat Conv DequantizeLinear Div Elu Erf Exp Flatten Gemm GlobalAveragePool GlobalMaxPool HardSwish
LeakyRelu MatMul Max MaxPool Mean Min Mul Neg Pad Pow QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare
Relu Reshape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze""".split()
KINDS = {np.dtype(d) for d in ("float32", "uint8", "int8", "int64", "int32", "bool")}
LEAST, MOST_POINTS = 0.999, 0.002


def example(*arguments):
    command = [os.environ["COMPARE"]] if "COMPARE" in os.environ else ["cargo", "run", "-q", "--release", "-p", "plimsoll-lower", "--example", "compare", "--"]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)


def with_weights(case):
    """The test's model with all inputs but the first as initializers, a product behind it that makes a region worth lowering."""
    model, values = onnx.ModelProto(), case.data_sets[0][0]
    model.CopyFrom(case.model)
    graph = model.graph
    for info, value in list(zip(graph.input, values))[1:]:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), info.name))
        graph.input.remove(info)
    first, result = graph.input[0], graph.output[0]
    shape, outputs = np.asarray(values[0]).shape, np.asarray(case.data_sets[0][1][0])
    floats = np.asarray(values[0]).dtype == outputs.dtype == np.float32
    if floats and outputs.ndim >= 2 and outputs.size and not any(n.op_type in ("Conv", "MatMul", "Gemm") for n in graph.node):
        weight = np.random.default_rng(7).normal(size=(outputs.shape[-1], 5)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, "lowered.weight"))
        graph.node.append(helper.make_node("MatMul", [result.name, "lowered.weight"], ["lowered.product"], "lowered.product"))
        graph.output.append(helper.make_tensor_value_info("lowered.product", onnx.TensorProto.FLOAT, [*outputs.shape[:-1], 5]))
    first.CopyFrom(helper.make_tensor_value_info(first.name, helper.np_dtype_to_tensor_dtype(np.asarray(values[0]).dtype), shape))
    return model


def node_test(case, work):
    """`same`, `different`, or why it was passed over; and whether something was lowered."""
    try:
        model = with_weights(case)
        path = os.path.join(work, "node.onnx")
        onnx.save(model, path)
        running = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception:  # whatever onnxruntime does not have
        return "not in onnxruntime", False
    ran = example("--seconds", "0", "--save", work, path)
    if ran.returncode:
        return ("panicked" if "panicked" in ran.stderr else "not in tract"), False
    lowered = "(0 islands)" not in ran.stdout
    first = case.data_sets[0][0][0]
    x = np.fromfile(os.path.join(work, "input_0.f32"), np.float32).reshape(first.shape).astype(first.dtype)
    for i, expected in enumerate(running.run(None, {running.get_inputs()[0].name: x})):
        found = np.fromfile(os.path.join(work, f"output_{i}.f32"), np.float32).reshape(expected.shape)
        allowed = 1 if expected.dtype.kind in "iu" else 1e-4 * np.abs(expected[np.isfinite(expected)]).max(initial=1e-6)
        with np.errstate(invalid="ignore"):
            if not (np.isclose(found, expected.astype(np.float32), rtol=0, atol=allowed, equal_nan=True)).all():
                return "different", lowered
    return "same", lowered


def node_tests():
    counts, bad = {}, []
    for case in collect_testcases(None):
        if case.model is None or not case.data_sets or "expanded" in case.name:
            continue
        operators = {n.op_type for n in case.model.graph.node}
        inputs, outputs = case.data_sets[0]
        arrays = [a for a in [*inputs, *outputs] if isinstance(a, np.ndarray) or np.isscalar(a)]
        if not operators <= set(OPERATORS) or not inputs or len(arrays) < len(inputs) + len(outputs):
            continue
        if not np.asarray(inputs[0]).size:
            continue  # Maxima of nothing: tract's own operators differ from onnxruntime.
        if any(np.asarray(a).dtype not in KINDS for a in arrays) or np.asarray(inputs[0]).dtype not in (np.float32, np.uint8, np.int8):
            continue
        with tempfile.TemporaryDirectory() as work:
            verdict, lowered = node_test(case, work)
        key = verdict + (", lowered" if lowered else "")
        counts[key] = counts.get(key, 0) + 1
        if verdict in ("different", "panicked"):
            bad.append(case.name)
            print(f"{case.name:<60} {verdict}", flush=True)
    for verdict, n in sorted(counts.items()):
        print(f"node tests {verdict:<24} {n}")
    return not bad


def classes(scores):
    return scores.argmax(1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(int)


def task(folder):
    model, calib, test = (os.path.join(folder, f) for f in ("model.onnx", "calib.npz", "test.npz"))
    archive = np.load(test)
    inputs = {k: archive[k] for k in archive.files if k not in ("label", "group")}
    good = True
    with tempfile.TemporaryDirectory() as work:
        int8 = os.path.join(work, "int8.onnx")
        plimsoll("quantize", model, "-o", int8, "--data", calib, "--scheme", "int8")
        for name, path in (("float32", model), ("int8", int8)):
            scores = []
            for flag in ([], ["--no-lower"]):
                saved = os.path.join(work, "scores.npy")
                plimsoll("evaluate", path, "--data", test, "--save-scores", saved, *flag)
                scores.append(np.load(saved))
            lowered, plain = scores
            other = in_onnxruntime(path, inputs, len(lowered)).reshape(len(lowered), -1)
            if other.shape[1] == 1:
                other = np.concatenate([1 - other, other], 1)
            with_plain = float((classes(lowered) == classes(plain)).mean())
            with_other = float((classes(lowered) == classes(other)).mean())
            label = archive["label"] if "label" in archive.files else classes(other)
            points = abs(float((classes(lowered) == label).mean()) - float((classes(other) == label).mean()))
            met = min(with_plain, with_other) >= LEAST and points <= MOST_POINTS
            good &= met
            print(
                f"{os.path.basename(folder):<16} {name:<8} same class as tract {with_plain:.4f}, as onnxruntime {with_other:.4f}, "
                f"accuracies {100 * points:.2f} points apart{'' if met else '  NOT MET'}",
                flush=True,
            )
    return good


def main():
    tasks = sys.argv[1:] or [os.path.join(ROOT, "fixtures", name) for name in ("sleep-wake", "digits")]
    good = [task(os.path.abspath(folder)) for folder in tasks]
    good.append(node_tests())
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
