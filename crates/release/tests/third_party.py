#!/usr/bin/env python3
"""Lets clients that know nothing of Plimsoll judge a release and its repository, and lets them refuse what was tampered with.

    python crates/release/tests/third_party.py RELEASE_DIR REPOSITORY_DIR

RELEASE_DIR holds payload/, model.sig, public_key.pem and attestations/. The clients are model_signing (OpenSSF), securesystemslib (DSSE),
cyclonedx-python-lib and python-tuf's ngclient, the last one over HTTP on loopback. Ends with 1 at the first claim that does not hold.
"""
import contextlib
import datetime
import functools
import hashlib
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater


def claim(holds, text):
    print(("holds  " if holds else "BROKEN ") + text, flush=True)
    if not holds:
        raise SystemExit(1)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def copy_of(folder):
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "copy"
        shutil.copytree(folder, copy)
        yield copy


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# OpenSSF Model Signing

def model_signing(release, public_key=None):
    """Whether `model_signing verify key` accepts, and what it says."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", release / "payload", "--signature", release / "model.sig",
               "--public_key", public_key or release / "public_key.pem"]
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    return run.returncode == 0, (run.stdout + run.stderr).strip()


def judge_signature(release):
    accepted, said = model_signing(release)
    claim(accepted, f"model_signing accepts the release\n       {said}")

    def change(copy):
        flip_byte(copy / "payload/model.onnx")

    def add(copy):
        (copy / "payload/added.txt").write_text("added")

    def add_empty(copy):
        (copy / "payload/budgets/added").touch()

    def remove(copy):
        (copy / "payload/report.md").unlink()

    def rename(copy):
        (copy / "payload/report.md").rename(copy / "payload/report.txt")

    def link(copy):
        (copy / "payload/report.md").unlink()
        (copy / "payload/report.md").symlink_to(release.resolve() / "payload/report.md")

    def cut(copy):
        signature = (copy / "model.sig").read_bytes()
        (copy / "model.sig").write_bytes(signature[:len(signature) // 2])

    def resign(copy):
        bundle = json.loads((copy / "model.sig").read_text())
        signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
        (copy / "model.sig").write_text(json.dumps(bundle))

    for what, tamper in [("a changed byte", change), ("an added file", add), ("an added empty file", add_empty), ("a missing file", remove),
                         ("a renamed file", rename), ("a link in place of a file", link), ("a signature cut short", cut),
                         ("another signature", resign)]:
        with copy_of(release) as copy:
            tamper(copy)
            accepted, said = model_signing(copy)
            claim(not accepted, f"model_signing refuses {what}: {said.splitlines()[-1] if said else ''}")
    with tempfile.TemporaryDirectory() as scratch:
        other = pathlib.Path(scratch) / "other.pem"
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        other.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        accepted, said = model_signing(release, other)
        claim(not accepted, f"model_signing refuses another key: {said.splitlines()[-1]}")


# Attestations

def root_digest(payload):
    """OpenSSF Model Signing root digest, written down once more from the specification."""
    files = sorted((p.relative_to(payload).parts, p) for p in payload.rglob("*") if p.is_file())
    return sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for _, path in files))


def judge_attestations(release):
    pem = (release / "public_key.pem").read_bytes()
    key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=sha256(pem))
    digest, kinds = root_digest(release / "payload"), []
    model = sha256((release / "payload/model.onnx").read_bytes())
    for path in sorted((release / "attestations").iterdir()):
        envelope = Envelope.from_dict(json.loads(path.read_text()))
        claim(set(envelope.verify([key], 1)) == {key.keyid}, f"securesystemslib accepts {path.name}")
        statement = json.loads(envelope.payload)
        subjects = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
        claim(statement["_type"] == "https://in-toto.io/Statement/v1" and subjects.get("payload") == digest
              and subjects.get("payload/model.onnx") == model, f"{path.name} is about this payload and this model")
        kinds.append(statement["predicateType"])
        envelope.payload = envelope.payload.replace(digest.encode(), b"0" * 64)
        try:
            envelope.verify([key], 1)
            claim(False, f"securesystemslib refuses {path.name} about another payload")
        except VerificationError:
            claim(True, f"securesystemslib refuses {path.name} about another payload")
    needed = {"https://slsa.dev/provenance/v1", "https://in-toto.io/attestation/test-result/v0.1",
              "https://slsa.dev/verification_summary/v1"}
    claim(needed <= set(kinds), f"there are attestations of {', '.join(kinds)}")


def judge_bill(release):
    bill = json.loads((release / "payload/bom.json").read_text())
    component = bill["metadata"]["component"]
    model = sha256((release / "payload/model.onnx").read_bytes())
    claim(bill["bomFormat"] == "CycloneDX" and component["type"] == "machine-learning-model"
          and component["hashes"] == [{"alg": "SHA-256", "content": model}], "the bill of materials is about this model")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    claim(error is None, f"the CycloneDX 1.6 schema accepts the bill of materials {error or ''}")


# The Update Framework

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    # A client that has had enough hangs up.
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Client:
    """A device with nothing but the first root."""

    def __init__(self, address, root, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "metadata").mkdir(exist_ok=True)
        (self.folder / "targets").mkdir(exist_ok=True)
        self.updater = Updater(str(self.folder / "metadata"), f"{address}/metadata/", str(self.folder / "targets"), f"{address}/targets/",
                               bootstrap=root)

    def at(self, moment):
        self.updater._trusted_set.reference_time = moment
        return self

    def read(self, name):
        info = self.updater.get_targetinfo(name)
        return None if info is None else pathlib.Path(self.updater.download_target(info)).read_bytes()


def tuf_reads(repository, names, root=None, moment=None):
    """What python-tuf gets of some targets from a repository."""
    root = root or (repository / "metadata/1.root.json").read_bytes()
    with served(repository) as address, tempfile.TemporaryDirectory() as scratch:
        client = Client(address, root, scratch)
        return [(client.at(moment) if moment else client).read(name) for name in names]


def judge_repository(release, repository):
    root = (repository / "metadata/1.root.json").read_bytes()
    claim(json.loads(root)["signed"].get("trial") is True, "the root says that the repository is a trial")
    beta, general = tuf_reads(repository, ["channel.beta.json", "channel.general.json"])
    claim(beta is not None, "python-tuf reads the beta channel from the first root")
    record = json.loads((release / "payload/release.json").read_text())
    for name, content in [("beta", beta), ("general", general)]:
        if content is None:
            print(f"       the {name} channel is at nothing yet", flush=True)
            continue
        pointer = json.loads(content)
        target = f"release.{pointer['release']}.{pointer['version']}.json".replace("+", "_")
        [manifest] = tuf_reads(repository, [target])
        claim(manifest is not None and sha256(manifest) == pointer["manifest_sha256"], f"python-tuf reads what the {name} channel points to: {target}")
        files = {f["path"]: f for f in json.loads(manifest)["files"]}
        stored = {path: (repository / "blobs/sha256" / f["sha256"]).read_bytes() for path, f in files.items()}
        claim(all(sha256(c) == files[p]["sha256"] and len(c) == files[p]["bytes"] for p, c in stored.items()),
              f"the {len(files)} files it lists are there, byte for byte")
        if (pointer["release"], pointer["version"]) == (record["name"], record["version"]):
            here = {str(p.relative_to(release)): p.read_bytes() for p in release.rglob("*") if p.is_file()}
            claim(stored == here and pointer["release_digest"] == root_digest(release / "payload"), f"they are this release ({name})")
    pointer = json.loads(beta)
    claim((pointer["release"], pointer["version"]) == (record["name"], record["version"]), "the beta channel is at this release")

    attack(repository)


def attack(repository):
    def refused(what, change, names=("channel.beta.json",), **options):
        with copy_of(repository) as copy:
            change(copy)
            try:
                got = tuf_reads(copy, names, **options)
            except (RepositoryError, DownloadError, ValueError) as error:
                claim(True, f"python-tuf refuses {what}: {type(error).__name__}: {str(error)[:90]}")
            else:
                claim(False, f"python-tuf refuses {what} (it read {[len(g or b'') for g in got]} bytes)")

    def newest(copy, role):
        return max((copy / "metadata").glob(f"*.{role}.json"), key=lambda p: int(p.name.split(".")[0]))

    def edit(path, change):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def other_target(copy):
        for path in (copy / "targets").glob("*.channel.beta.json"):
            edit(path, lambda d: d.update(percent_bp=1))

    def one_signature(role):
        return lambda copy: edit(newest(copy, role), lambda d: d["signatures"].pop())

    def no_signature(role):
        return lambda copy: edit(newest(copy, role), lambda d: d["signatures"].clear())

    def older(role):
        def change(copy):
            path = newest(copy, role)
            shutil.copyfile(copy / "metadata" / f"1.{role}.json", path)
        return change

    def endless(copy):
        (copy / "metadata/timestamp.json").write_bytes(b" " * (1 << 20))

    refused("a tampered target", other_target)
    for role in ("releases", "beta", "targets"):
        refused(f"{role} without signatures", no_signature(role), ("channel.beta.json", "release.none.json"))
    refused("releases signed by one of two", one_signature("releases"), ("release.none.json",))
    refused("a timestamp without a signature", lambda c: edit(c / "metadata/timestamp.json", lambda d: d["signatures"].clear()))
    refused("a timestamp with another expiry", lambda c: edit(c / "metadata/timestamp.json", lambda d: d["signed"].update(expires="2099-01-01T00:00:00Z")))
    refused("an old snapshot", older("snapshot"))
    refused("an old role beside a new snapshot", older("beta"))
    refused("endless metadata", endless)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)
    refused("a frozen timestamp", lambda copy: None, moment=later)
    stranger = json.loads((repository / "metadata/1.root.json").read_text())
    stranger["signatures"] = stranger["signatures"][:1]
    refused("a root signed by one of two", lambda copy: None, root=json.dumps(stranger).encode())


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    release, repository = (pathlib.Path(a) for a in sys.argv[1:])
    judge_signature(release)
    judge_attestations(release)
    judge_bill(release)
    judge_repository(release, repository)


if __name__ == "__main__":
    main()
