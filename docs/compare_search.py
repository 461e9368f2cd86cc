"""The search beside a grid of 60 recipes, on the spec that is given: how near it comes to the best of them, in which part of the time.

python docs/compare_search.py PLIMSOLL SPEC [--budget 5m]

The grid is every scheme that tract loads with every share of channels; both searches start from an empty cache. Times say something on a
machine that does nothing else.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

SCHEMES = [None, "int8", "int8-weights", "f16"]
SHARES = [None, 5, 10, 15, 20, 30, 40, 50]


def recipes():
    """60 of them: 4 schemes without pruning, and with each of 7 shares of two kinds."""
    for scheme in SCHEMES:
        for share in SHARES:
            for by in ["macs", "bytes"] if share else [None]:
                steps, name = ['{ pass = "simplify" }'], []
                if share:
                    steps.append(f'{{ pass = "prune", remove-{by} = "{share}%", allocation = "global" }}')
                    name.append(f"prune-{by}-{share}")
                if scheme:
                    steps.append(f'{{ pass = "quantize", scheme = "{scheme}" }}')
                    name.append(scheme)
                steps.append('{ pass = "strip-names" }')
                yield "+".join(name) or "simplify", steps


def search(plimsoll, spec, budget):
    """The score of the winner, its name, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        command = [plimsoll, "optimize", spec, "-o", folder, "--budget", budget, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        seconds = time.monotonic() - start
        ranking = json.loads(done.stdout)
    winner = next(c for c in ranking["candidates"] if c["recipe"]["name"] == ranking["winner"])
    return winner["score"], winner["recipe"]["name"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plimsoll")
    parser.add_argument("spec", type=pathlib.Path)
    parser.add_argument("--budget", default="5m")
    args = parser.parse_args()
    text = args.spec.read_text()
    grid = args.spec.with_name(f".grid-{args.spec.name}")
    listed = [f'[[optimize.recipes]]\nname = "{name}"\nsteps = [{", ".join(steps)}]\n' for name, steps in recipes()]
    assert len(listed) == 60, len(listed)
    grid.write_text(text + "\n" + "\n".join(listed))
    try:
        best, of_grid, grid_seconds = search(args.plimsoll, grid, "10h")
    finally:
        grid.unlink()
    found, name, seconds = search(args.plimsoll, args.spec, args.budget)
    print(f"grid    {of_grid}: score {best:.4f} in {grid_seconds:.0f} s")
    print(f"search  {name}: score {found:.4f} in {seconds:.0f} s")
    print(f"the objective is {2.718281828459045 ** (found - best):.3f} of the grid's, in {seconds / grid_seconds:.2f} of its time")


if __name__ == "__main__":
    main()
