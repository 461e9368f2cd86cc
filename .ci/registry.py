#!/usr/bin/env python3
"""Pushes a release to Debian's docker-registry on loopback, and lets PyPI's oras and `plimsoll verify` have it back, byte for byte.

    python .ci/registry.py PLIMSOLL RELEASE_DIR

Then it tampers with what the registry holds: each of these is refused with 98. Debian's registry has no referrers API and asks for no token;
what one does that has and asks is shown by a proxy in front of it, as OCI distribution 1.1 and Docker's token authentication say. Last, a
registry whose answers do not end. Says so and ends with 0 where there is no docker-registry.
"""
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

MODEL = "application/vnd.cncf.model.manifest.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def claim(holds, text):
    print(("holds  " if holds else "BROKEN ") + text, flush=True)
    if not holds:
        raise SystemExit(1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def registry(folder):
    port = free_port()
    config = folder / "registry.json"
    config.write_text(json.dumps({"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
                                  "http": {"addr": f"127.0.0.1:{port}"}}))
    with open(folder / "registry.log", "wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def serving(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextlib.contextmanager
def endless():
    """A registry whose answers to a path do not end; how many bytes of the last one were taken."""
    state = {"status": 200, "challenge": None, "sent": 0}

    class Endless(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            state["sent"] = 0
            challenge = state["challenge"] if not self.path.startswith("/token") else None
            self.send_response_only(401 if challenge else state["status"])
            if challenge:
                self.send_header("WWW-Authenticate", f'Bearer realm="http://{self.headers["Host"]}/token",service="a"')
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_header("Content-Type", MANIFEST)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            piece = b" " * 65_536
            with contextlib.suppress(OSError):
                while state["sent"] < 1 << 28:
                    self.wfile.write(b"10000\r\n" + piece + b"\r\n")
                    state["sent"] += len(piece)
                self.wfile.write(b"0\r\n\r\n")

    with serving(Endless) as host:
        yield host, state


@contextlib.contextmanager
def in_front_of(upstream, token=None):
    """The registry as one that knows who refers to whom (OCI distribution 1.1, "Listing Referrers"), and that gives a token to who shows
    the password, where there is one."""
    referrers = {}

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def forward(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = self.path.split("?")[0].split("/")
            if token and parts[-1] == "token":
                known = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"anna:a password").decode()
                return self.reply(200 if known else 401, [], json.dumps({"token": token} if known else {}).encode())
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                host = self.headers["Host"]
                return self.reply(401, [("WWW-Authenticate", f'Bearer realm="http://{host}/token",service="a registry"')], b"{}")
            if self.command == "GET" and parts[-2] == "referrers":
                content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": referrers.get(parts[-1], [])}).encode()
                return self.reply(200, [("Content-Type", INDEX)], content)
            connection = http.client.HTTPConnection(upstream)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in ("content-length", "connection", "transfer-encoding")]
            if self.command == "PUT" and parts[-2] == "manifests" and answer.status == 201:
                manifest = json.loads(body)
                if subject := manifest.get("subject", {}).get("digest"):
                    listed = {"mediaType": manifest["mediaType"], "artifactType": manifest["artifactType"], "size": len(body),
                              "digest": "sha256:" + hashlib.sha256(body).hexdigest()}
                    if listed not in referrers.setdefault(subject, []):
                        referrers[subject].append(listed)
                    headers.append(("OCI-Subject", subject))
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            return self.reply(answer.status, headers, content, length)

        def reply(self, status, headers, content, length=None):
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = forward

    with serving(Proxy) as host:
        yield host, referrers


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def main():
    plimsoll, release = sys.argv[1], pathlib.Path(sys.argv[2])
    if not shutil.which("docker-registry"):
        print("NOT JUDGED: there is no docker-registry here (apt-get install docker-registry)")
        return
    import oras.client

    # Loopback is not for proxies.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

    def run(*args, env=None):
        done = subprocess.run([plimsoll, *map(str, args)], capture_output=True, text=True, check=False, env=env)
        return done.returncode, done.stdout, done.stderr

    with tempfile.TemporaryDirectory() as scratch, registry(pathlib.Path(scratch)) as host:
        scratch = pathlib.Path(scratch)
        repository = f"{host}/models/release"
        address = f"oci://{repository}:1.0.0"

        def get(what, kind):
            request = urllib.request.Request(f"http://{host}/v2/models/release/manifests/{what}", headers={"Accept": kind})
            with urllib.request.urlopen(request) as answer:
                return answer.read()

        def put(what, kind, content):
            request = urllib.request.Request(f"http://{host}/v2/models/release/manifests/{what}", content, {"Content-Type": kind}, method="PUT")
            with urllib.request.urlopen(request):
                pass

        def refused(what, says):
            code, out, err = run("verify", address)
            claim(code == 98 and says in out + err, f"{what}: refused, {(err or out).strip().splitlines()[0]}")

        code, _, err = run("verify", address)
        claim(code == 96 and "nothing" in err, "an address with nothing at it is said to have nothing")
        code, out, err = run("release", "--from", release, "--push", address, "--json")
        claim(code == 0, f"release --push ends with 0 {err if code else ''}")
        pinned = json.loads(out)["pushed"]
        raw = get("1.0.0", MANIFEST)
        manifest, digest = json.loads(raw), "sha256:" + hashlib.sha256(raw).hexdigest()
        claim(pinned == f"oci://{repository}@{digest}", "it says the digest of what it pushed")
        claim(manifest["artifactType"] == MODEL and manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
              and all(layer["mediaType"].startswith("application/vnd.cncf.model.") for layer in manifest["layers"]),
              "it is a ModelPack manifest")
        claim(run("release", "--from", release, "--push", address)[0] == 0 and get("1.0.0", MANIFEST) == raw,
              "pushed again, it is the same manifest")

        oras.client.OrasClient(insecure=True).pull(target=f"{repository}:1.0.0", outdir=str(scratch / "pulled"))
        claim(tree(scratch / "pulled") == tree(release / "payload"), f"oras pulls the payload byte for byte: {len(manifest['layers'])} files")
        tag = digest.replace(":", "-")
        index = json.loads(get(tag, INDEX))
        signature = index["manifests"][0]["digest"]
        oras.client.OrasClient(insecure=True).pull(target=f"{repository}@{signature}", outdir=str(scratch / "beside"))
        beside = {name: content for name, content in tree(release).items() if not name.startswith("payload/")}
        claim(len(index["manifests"]) == 1 and tree(scratch / "beside") == beside, f"oras pulls the signature from the tag {tag[:19]}…")
        checked = subprocess.run([sys.executable, "-m", "model_signing", "verify", "key", scratch / "pulled", "--signature",
                                  scratch / "beside/model.sig", "--public_key", release / "public_key.pem"],
                                 capture_output=True, text=True, check=False)
        claim(checked.returncode == 0, "model_signing accepts what oras pulled")

        for place in [address, pinned]:
            code, out, err = run("verify", place, "--public-key", release / "public_key.pem", "--json")
            claim(code == 0 and json.loads(out)["steps"][0]["name"] == "registry", f"plimsoll verifies {place[:60]} {err if code else ''}")

        with in_front_of(host) as (knowing, referrers):
            address_there = f"oci://{knowing}/models/knowing:1.0.0"
            code, _, err = run("release", "--from", release, "--push", address_there)
            claim(code == 0 and [len(r) for r in referrers.values()] == [1], f"a registry with the referrers API lists the signature {err if code else ''}")
            tags = json.loads(urllib.request.urlopen(f"http://{host}/v2/models/knowing/tags/list").read())["tags"]
            claim(tags == ["1.0.0"], "where it does, no fallback tag is made")
            code, out, err = run("verify", address_there, "--public-key", release / "public_key.pem")
            claim(code == 0 and "pass     registry" in out, f"plimsoll finds the signature by the referrers API {err if code else ''}")
            referrers.clear()
            code, out, err = run("verify", address_there)
            claim(code == 98 and "nothing signs it" in out + err, "without a referrer nothing signs it")

        with in_front_of(host, token="t0ken") as (asking, _):
            there = f"oci://{asking}/models/asking:1.0.0"
            mine = {**os.environ, "PLIMSOLL_REGISTRY_USER": "anna", "PLIMSOLL_REGISTRY_PASSWORD": "a password"}
            for command in [["release", "--from", release, "--push", there], ["verify", there, "--public-key", release / "public_key.pem"]]:
                code, out, err = run(*command)
                claim(code == 96 and "set PLIMSOLL_REGISTRY_USER" in err, f"{command[0]}: a registry that asks who is there is told nothing by itself: {err.splitlines()[0]}")
                code, out, err = run(*command, env=mine)
                claim(code == 0, f"{command[0]}: with a password there is a token {err if code else ''}")
                claim("t0ken" not in out + err and "a password" not in out + err, "and nobody is told either")

        with endless() as (hostile, state):
            def unending(what, accepted, says, **change):
                state.update({"status": 200, "challenge": None, **change})
                code, out, err = run("verify", f"oci://{hostile}/models/endless:1.0.0")
                claim(code == accepted and says in out + err and 0 < state["sent"] < 1 << 24,
                      f"{what} that does not end is left after {state['sent']} bytes: {(err or out).strip().splitlines()[0]}")
            unending("a manifest", 98, "longer than 4194304 bytes")
            unending("a token", 98, "longer than 65536 bytes", challenge=True)
            unending("an error", 96, "answered 500", status=500)

        def tagged(document, signed=True):
            """Puts a manifest at the tag, and the old signature to it."""
            content = json.dumps(document).encode()
            put("1.0.0", MANIFEST, content)
            subject = "sha256:" + hashlib.sha256(content).hexdigest()
            if signed:
                other = json.dumps({**json.loads(get(signature, MANIFEST)),
                                    "subject": {"mediaType": MANIFEST, "digest": subject, "size": len(content)}}).encode()
                put("forged", MANIFEST, other)
                listed = {"mediaType": MANIFEST, "digest": "sha256:" + hashlib.sha256(other).hexdigest(), "size": len(other)}
                put(subject.replace(":", "-"), INDEX,
                    json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]}).encode())

        def layers(change):
            return {**manifest, "layers": [new for new in (change(json.loads(json.dumps(old))) for old in manifest["layers"]) if new]}

        def without_report(layer):
            return None if layer["annotations"]["org.opencontainers.image.title"] == "report.md" else layer

        def astray(layer):
            if layer["annotations"]["org.opencontainers.image.title"] == "report.md":
                layer["annotations"]["org.opencontainers.image.title"] = "../../report.md"
            return layer

        tagged({**manifest, "annotations": {"org.opencontainers.image.title": "other"}}, signed=False)
        refused("a manifest that nobody signed", "nothing signs it")
        tagged(layers(without_report))
        refused("a payload without one of its files, under the old signature", "missing `report.md`")
        tagged(layers(astray))
        refused("a file name that leads out of the folder", "leads elsewhere")
        image = {**manifest}
        del image["artifactType"]
        put("1.0.0", MANIFEST, json.dumps(image).encode())
        refused("what is no model", "of no type")
        put("1.0.0", MANIFEST, raw)
        claim(run("verify", address)[0] == 0, "put back, it verifies")
        blobs = scratch / "storage/docker/registry/v2/blobs/sha256"
        layer = next(l for l in manifest["layers"] if l["annotations"]["org.cncf.model.filepath"] == "model.onnx")
        name = layer["digest"].removeprefix("sha256:")
        blob = blobs / name[:2] / name / "data"
        whole = blob.read_bytes()
        blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused("other bytes of a layer", "not what was announced")
        blob.write_bytes(whole + b"more")
        code, out, err = run("verify", address)
        claim(code == 98, f"more bytes than announced: refused, {err.strip().splitlines()[0]}")


main()
