#!/usr/bin/env python3
"""Lets python-tuf read the repository that a fleet of agents followed: it sees the same pointers.

    PLIMSOLL_FLEET=FOLDER cargo test --release --locked --workspace --test fleet
    python crates/device/tests/pointers.py FOLDER

FOLDER holds repository/, root.json, and pointers.json: what the agents took the channels to be at. Ends with 1 where a claim does not hold.
"""
import functools
import http.server
import json
import pathlib
import sys
import tempfile
import threading

from tuf.ngclient import Updater


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def claim(holds, text):
    print(("holds  " if holds else "BROKEN ") + text, flush=True)
    if not holds:
        raise SystemExit(1)


def read(updater, name):
    info = updater.get_targetinfo(name)
    return info and json.loads(pathlib.Path(updater.download_target(info)).read_bytes())


def main(folder):
    folder = pathlib.Path(folder)
    handler = functools.partial(Quiet, directory=folder / "repository")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as scratch:
        metadata, targets = pathlib.Path(scratch) / "metadata", pathlib.Path(scratch) / "targets"
        metadata.mkdir()
        targets.mkdir()
        updater = Updater(
            str(metadata),
            f"{address}/metadata/",
            str(targets),
            f"{address}/targets/",
            bootstrap=(folder / "root.json").read_bytes(),
        )
        updater.refresh()
        for taken in json.loads((folder / "pointers.json").read_text()):
            channel = taken["channel"]
            pointer = read(updater, f"channel.{channel}.json")
            halt = read(updater, f"halt.{channel}.json")
            if halt and halt["epoch"] == pointer["epoch"]:
                pointer["state"] = "halted"
            epoch = f"{taken['version']}, epoch {taken['epoch']}, {taken['state']}"
            claim(pointer == taken, f"python-tuf sees {channel} where the agents do: {epoch}")
            claim(taken["previous"]["version"] == "3.0.0", f"the fallback of {channel} is the release before")
    server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
