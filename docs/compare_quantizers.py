#!/usr/bin/env python3
"""Our quantizer beside onnxruntime's: size, accuracy, agreement and time of what each makes of a task.

    python docs/compare_quantizers.py [--write] [TASK_DIR ...]

A task is a folder with model.onnx, calib.npz (arrays named as the inputs) and test.npz (the same and `label`); without any, both
fixtures are taken. Needs .ci/requirements.txt and cargo. Prints one Markdown table a task; --write puts those of the fixtures into
docs/quantization.md. onnxruntime calibrates on the first 256 samples of calib.npz, plimsoll on as many as it takes by default; nobody
sees a label. Accuracy and agreement are on all of test.npz, in onnxruntime unless the column says otherwise. Times are medians of
alternating single runs, one thread, batch 1, as ratios to the float model in the same executor: they hold for one machine.
"""
import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLES = 256
OURS = [
    ("plimsoll int8", ["--scheme", "int8"]),
    ("plimsoll int8, MinMax, no repair", ["--scheme", "int8", "--calibration", "minmax", "--repair", "none"]),
    ("plimsoll int8, per tensor", ["--scheme", "int8", "--granularity", "per-tensor"]),
    ("plimsoll int8-dynamic", ["--scheme", "int8-dynamic"]),
    ("plimsoll int8-weights", ["--scheme", "int8-weights"]),
    ("plimsoll int4-weights", ["--scheme", "int4-weights"]),
    ("plimsoll w4a8", ["--scheme", "w4a8"]),
    ("plimsoll f16", ["--scheme", "f16"]),
]


class Reader(CalibrationDataReader):
    def __init__(self, data, batch):
        n = len(next(iter(data.values())))
        self.batches = iter([{k: v[i:i + batch] for k, v in data.items()} for i in range(0, n - n % batch, batch)])

    def get_next(self):
        return next(self.batches, None)


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def fixed_batch(running):
    first = running.get_inputs()[0].shape[0]
    return first if isinstance(first, int) and first > 0 else None


def scores(running, inputs, n):
    """First output for the first n samples, as far as a fixed batch size divides them."""
    batch = fixed_batch(running) or 64
    n -= n % (fixed_batch(running) or 1)
    names = [i.name for i in running.get_inputs()]
    parts = [running.run(None, {k: inputs[k][i:i + batch] for k in names})[0] for i in range(0, n, batch)]
    return np.concatenate(parts).astype(np.float64)


def auc(label, score):
    """Area under the ROC curve; ties count half."""
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])[:-1]
    ranks = (below + (counts + 1) / 2)[inverse]
    positive = label == 1
    n, m = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def time_ratio(model, baseline, inputs, runs=300, warm_up=30):
    """Median of the model's time over the baseline's in alternation, and the model's median in ms."""
    one = {k: v[:fixed_batch(baseline) or 1] for k, v in inputs.items()}
    pairs = np.empty((runs, 2))
    for i in range(-warm_up, runs):
        for column, running in enumerate((model, baseline)):
            start = time.perf_counter()
            running.run(None, one)
            pairs[max(i, 0), column] = time.perf_counter() - start
    return float(np.median(pairs[:, 0] / pairs[:, 1])), float(np.median(pairs[:, 0]) * 1e3)


def xtask(*arguments):
    return subprocess.run(["cargo", "xtask", *arguments], cwd=ROOT, capture_output=True, text=True)


def in_tract(verb, metric, path, model, test, *options):
    """A figure of `bench` or `evaluate`; None where tract does not run the model."""
    run = xtask(verb, path, "--baseline", model, "--data", test, "--json", *options)
    if run.returncode:
        return None
    return next((f["value"] for f in json.loads(run.stdout)["figures"] if f["metric"] == metric), None)


def ours(model, calib, out, options):
    start = time.perf_counter()
    run = xtask("quantize", model, "-o", out, "--data", calib, "--strip-names", *options)
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or ["no message"])[-1])
    return time.perf_counter() - start


def onnxruntimes(model, data, batch):
    """Name and function of each method of onnxruntime; each writes to the path that it gets."""
    u8, s8 = QuantType.QUInt8, QuantType.QInt8
    minmax, percentile = CalibrationMethod.MinMax, CalibrationMethod.Percentile

    def static(**options):
        return lambda out: quantize_static(model, out, Reader(data, batch), quant_format=QuantFormat.QDQ, weight_type=s8, **options)

    return [
        ("onnxruntime per channel, MinMax, u8", static(per_channel=True, activation_type=u8, calibrate_method=minmax)),
        ("onnxruntime per channel, MinMax, s8", static(per_channel=True, activation_type=s8, calibrate_method=minmax)),
        ("onnxruntime per tensor, MinMax, u8", static(per_channel=False, activation_type=u8, calibrate_method=minmax)),
        ("onnxruntime per channel, percentile, u8", static(per_channel=True, activation_type=u8, calibrate_method=percentile, extra_options={"CalibPercentile": 99.99})),
        ("onnxruntime dynamic", lambda out: quantize_dynamic(model, out, weight_type=s8)),
    ]


def compare(task, work):
    """The rows of one task's table."""
    model, calib, test = (os.path.join(task, f) for f in ("model.onnx", "calib.npz", "test.npz"))
    archive = np.load(test)
    label = archive["label"]
    inputs = {k: archive[k] for k in archive.files if k not in ("label", "group")}
    drawn = np.load(calib)
    data = {k: drawn[k][:SAMPLES] for k in drawn.files if k not in ("label", "group")}
    baseline = session(model)
    reference = scores(baseline, inputs, len(label))
    label = label[:len(reference)]
    binary = reference.shape[1] == 2

    def row(name, path, seconds):
        running = session(path)
        found = scores(running, inputs, len(label))
        ratio, milliseconds = time_ratio(running, baseline, inputs)
        tract = [1.0, 1.0] if path == model else [in_tract("evaluate", "agreement", path, model, test), in_tract("bench", "latency.ratio", path, model, test, "--budget", "2")]
        quality = auc(label, found[:, 1] - found[:, 0]) if binary else (found.argmax(1) == label).mean()
        agreement = (found.argmax(1) == reference.argmax(1)).mean()
        cells = [name, f"{os.path.getsize(path) / 1e3:.1f}", f"{quality:.4f}", f"{agreement:.4f}", f"{milliseconds:.3f}", f"{ratio:.2f}"]
        cells += ["–" if found is None else f"{found:.{digits}f}" for found, digits in zip(tract, (4, 2))]
        return cells + ["" if seconds is None else f"{seconds:.1f}"]

    rows = [row("float32", model, None)]
    prepared = os.path.join(work, "prepared.onnx")
    try:
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
    except Exception as error:
        print(f"onnxruntime's pre-processing fails: {error}", file=sys.stderr)
        prepared = model

    def timed(make):
        def run(out):
            start = time.perf_counter()
            with contextlib.redirect_stdout(sys.stderr):
                make(out)
            return time.perf_counter() - start
        return run

    xtask("--help")  # Builds, so that the first quantization does not seem slow.
    methods = [(name, timed(make)) for name, make in onnxruntimes(prepared, data, fixed_batch(baseline) or 16)]
    methods += [(name, lambda out, options=options: ours(model, calib, out, options)) for name, options in OURS]
    for number, (name, make) in enumerate(methods):
        out = os.path.join(work, f"{number}.onnx")
        try:
            rows.append(row(name, out, make(out)))
        except Exception as error:
            reason = re.sub(r"\s+", " ", str(error)).replace("|", "/")[:80]
            rows.append([name, f"fails: {type(error).__name__}: {reason}"] + [""] * 7)
        print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    return binary, len(label), rows


def table(task, work):
    binary, n, rows = compare(task, work)
    head = ["method", "kB", "AUC" if binary else "accuracy", "agreement", "ms", "time ÷ float32", "agreement in tract", "time ÷ float32 in tract", "s to make"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(r) + " |" for r in rows]
    return f"**{os.path.basename(os.path.normpath(task))}** ({n} test samples)\n\n" + "\n".join(lines) + "\n"


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(3)
    write, tasks = "--write" in sys.argv[1:], [a for a in sys.argv[1:] if not a.startswith("--")]
    if write and tasks:
        raise SystemExit("--write is for the fixtures alone: leave out the tasks")
    tasks = [os.path.abspath(t) for t in tasks] or [os.path.join(ROOT, "fixtures", t) for t in ("sleep-wake", "digits")]
    tables = []
    for task in tasks:
        with tempfile.TemporaryDirectory() as work:
            tables.append(table(task, work))
            print(tables[-1], flush=True)
    if write:
        path = os.path.join(ROOT, "docs", "quantization.md")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        begin, end = "<!-- compare_quantizers.py: begin -->\n", "<!-- compare_quantizers.py: end -->"
        head, rest = text.split(begin, 1)
        tail = rest.split(end, 1)[1]
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + begin + "\n".join(tables) + end + tail)


if __name__ == "__main__":
    main()
