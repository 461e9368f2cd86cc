#!/usr/bin/env python3
"""Counts what python-tuf downloads of a repository of many releases: the metadata of a first sync, and of the next one after a release.

    python crates/release/tests/sync_bytes.py MANY_RELEASES [RELEASES]

MANY_RELEASES is the built example `many_releases` of plimsoll-release; RELEASES (2000) is how many there are. Ends with 1 where a sync
downloads more than 200 kB of metadata.
"""
import http.server
import json
import functools
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from third_party import Client, claim  # noqa: E402

LIMIT = 200_000


class Counting(http.server.SimpleHTTPRequestHandler):
    sent = {"metadata": 0, "targets": 0}

    def log_message(self, *_):
        pass

    def copyfile(self, source, output):
        content = source.read()
        kind = self.path.strip("/").split("/")[0]
        Counting.sent[kind] = Counting.sent.get(kind, 0) + len(content)
        output.write(content)


def main():
    example, releases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    with tempfile.TemporaryDirectory() as scratch:
        said = subprocess.run([example, scratch, str(releases)], check=True, capture_output=True, text=True).stdout
        print(said.strip())
        repository = pathlib.Path(scratch) / "large/repository"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=str(repository)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        root = (repository / "metadata/1.root.json").read_bytes()
        memory = pathlib.Path(scratch) / "memory"
        memory.mkdir()

        def sync():
            Counting.sent.update(metadata=0, targets=0)
            client = Client(address, root, memory)
            pointer = json.loads(client.read("channel.beta.json"))
            manifest = client.read(f"release.{pointer['release']}.{pointer['version']}.json")
            claim(json.loads(manifest)["version"] == f"1.{releases - 1}.0", "python-tuf reads the newest release's manifest")
            return Counting.sent["metadata"]

        for what in ["a first sync", "a sync that finds nothing new"]:
            metadata = sync()
            claim(metadata <= LIMIT, f"{what} of {releases} releases downloads {metadata} bytes of metadata and {Counting.sent['targets']} of targets")
        server.shutdown()


main()
