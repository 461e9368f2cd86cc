"""A command before or after a model, for `bench --before` and the [pipeline] of a spec: started once, one answer a sample.

Takes a line with the names of arrays and then the arrays in npy format, and answers in the same way.
"""
import sys
from types import SimpleNamespace

from numpy.lib.format import read_array, write_array

into, out = sys.stdin.buffer, sys.stdout.buffer
pipe = SimpleNamespace(read=into.read, write=out.write)  # NumPy seeks in whatever looks like a file

while line := into.readline():
    arrays = {name: read_array(pipe) for name in line.decode().split()}
    # The step itself; here it takes the mean out of every array.
    arrays = {name: array - array.mean(dtype=array.dtype) for name, array in arrays.items()}
    out.write((" ".join(arrays) + "\n").encode())
    for array in arrays.values():
        write_array(pipe, array)
    out.flush()
