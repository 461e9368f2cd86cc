#!/usr/bin/env python3
"""Rotates keys under a client of the first root, and attacks a production repository: python-tuf and `plimsoll verify` must each refuse.

    python crates/release/tests/attacks.py EXAMPLE_PRODUCTION PLIMSOLL

EXAMPLE_PRODUCTION is the built example `production` of plimsoll-release, PLIMSOLL the command line. The attacker has what each attack is about:
a folder that can be written, a stolen online key, a revoked key, keys of another channel. Ends with 1 at the first claim that does not hold.
"""
import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, TargetFile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from third_party import Client, claim, served, sha256  # noqa: E402

NAMES = ["channel.beta.json", "channel.general.json"]


def run(*command, accepted=(0,)):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode not in accepted:
        raise SystemExit(f"BROKEN {' '.join(map(str, command))} ended in {done.returncode}: {done.stderr}")
    return done


class World:
    """A production repository, its keys, and two clients of its first root that have seen it before."""

    def __init__(self, folder, example, plimsoll):
        self.folder, self.plimsoll = folder, plimsoll
        run(example, folder)
        self.repository, self.keys = folder / "repository", folder / "keys"
        self.root = self.repository / "metadata/1.root.json"

    def read(self, repository, memory, root=None):
        """What python-tuf reads of both channels and of the release that general is at."""
        with served(repository) as address:
            client = Client(address, (root or self.root).read_bytes(), memory)
            read = [client.read(name) for name in NAMES]
            pointer = json.loads(read[1])
            manifest = client.read(f"release.{pointer['release']}.{pointer['version']}.json")
            return [*read, manifest], pointer

    def verify(self, repository, memory, root=None, accepted=(0,)):
        return run(self.plimsoll, "verify", repository, "--production", "--root", root or self.root, "--memory", memory, accepted=accepted)

    def channel(self, verb, *arguments):
        return run(self.plimsoll, "channel", verb, "--repository", self.repository, "--keys", self.keys, *arguments)

    def signer(self, name, keys=None):
        return CryptoSigner(load_pem_private_key(((keys or self.keys) / f"{name}.pem").read_bytes(), None))


def newest(repository, role):
    return max((repository / "metadata").glob(f"*.{role}.json"), key=lambda p: int(p.name.split(".")[0]))


def load(repository, role):
    path = repository / "metadata/timestamp.json" if role == "timestamp" else newest(repository, role)
    return Metadata.from_file(str(path)), path


def key_in(signer, repository):
    """The signer under the id that the repository lists its key by."""
    root, _ = load(repository, "root")
    targets, _ = load(repository, "targets")
    for keyid, key in [*root.signed.keys.items(), *targets.signed.delegations.keys.items()]:
        if key.keyval["public"].strip() == signer.public_key.keyval["public"].strip():
            signer.public_key.keyid = keyid
    return signer


def sign(world, repository, role, change, signers, version=None, online=True):
    """Changes a role and signs it with these keys; with the stolen online keys, snapshot and timestamp over it as well."""
    metadata, path = load(repository, role)
    change(metadata.signed)
    metadata.signatures.clear()
    if version:
        metadata.signed.version = version
    for signer in signers:
        metadata.sign(key_in(world.signer(signer), repository), append=True)
    path = path if role == "timestamp" else path.with_name(f"{metadata.signed.version}.{role}.json")
    content = metadata.to_bytes()
    path.write_bytes(content)
    if not online or role == "timestamp":
        return

    def listed(snapshot):
        snapshot.meta[f"{role}.json"] = MetaFile(metadata.signed.version, len(content), {"sha256": sha256(content)})

    if role == "snapshot":
        def points(timestamp):
            timestamp.snapshot_meta = MetaFile(metadata.signed.version, len(content), {"sha256": sha256(content)})
            timestamp.version += 1
        sign(world, repository, "timestamp", points, ["timestamp-b"])
    else:
        snapshot_version = load(repository, "snapshot")[0].signed.version + 1
        sign(world, repository, "snapshot", listed, ["snapshot-b"], snapshot_version)


def rotate(world, memory):
    """Keys of channels, of releases, online keys and two roots, one after the other."""
    for old in ["beta-1", "general-1", "releases-ci", "snapshot", "timestamp", "root-1", "targets-1"]:
        new = world.folder / f"{old}-b.pem"
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", new)
        new.chmod(0o600)
        world.channel("rotate-key", "--key", old, "--new", new, "--holder", "the other desk", "--person", "release desk", "--reason", "rotation")
        shutil.copy(new, world.keys)
        (world.keys / f"{old}.pem").rename(world.folder / f"{old}.pem")
        claim(world.read(world.repository, memory)[1]["version"] == "1.1.0", f"python-tuf follows the rotation of {old}, with what it has seen")
        world.verify(world.repository, memory / "ours")
    world.channel("revoke", "--key", "general-3", "--person", "release desk", "--reason", "lost")
    (world.keys / "general-3.pem").rename(world.folder / "general-3.pem")
    roots = len(list((world.repository / "metadata").glob("*.root.json")))
    with tempfile.TemporaryDirectory() as fresh:
        read, _ = world.read(world.repository, fresh)
        claim(all(read), f"python-tuf reads beta, general and a release from root v1 across {roots} roots")
    world.verify(world.repository, memory / "ours")
    held = run(world.plimsoll, "audit", "verify", "--repository", world.repository, "--root", world.root)
    claim("lines hold" in held.stderr, f"the audit log holds: {held.stderr.strip().splitlines()[-1]}")


def attack(world, memory):
    def refused(what, change, root=None, ours_alone=False, anew=False):
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            copy, seen = scratch / "copy", scratch / "seen"
            shutil.copytree(world.repository, copy)
            shutil.copytree(memory, seen)
            change(copy)
            if not ours_alone:
                with tempfile.TemporaryDirectory() as fresh:
                    try:
                        world.read(copy, fresh if root or anew else seen, root)
                    except (RepositoryError, DownloadError, ValueError) as error:
                        claim(True, f"python-tuf refuses {what}: {type(error).__name__}: {str(error)[:100]}")
                    else:
                        claim(False, f"python-tuf refuses {what}")
            done = world.verify(copy, scratch / "none" if root or anew else seen / "ours", root, accepted=(0, 98))
            said = done.stderr.strip().splitlines()
            claim(done.returncode == 98, f"plimsoll refuses {what}: {said[0] if said else done.stdout}")

    def edit(path, change):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def changed_target(copy):
        for path in (copy / "targets").glob("*.channel.general.json"):
            edit(path, lambda d: d.update(percent_bp=1))

    # python-tuf keeps targets that it has: what it is to refuse must be new to it.
    for kept in (memory / "targets").iterdir():
        kept.unlink()

    def pointer(copy, **fields):
        """Another pointer of general as a target file."""
        content = json.dumps({**json.loads(world.read(copy, tempfile.mkdtemp(dir=world.folder))[0][1]), **fields}).encode()
        (copy / f"targets/{sha256(content)}.channel.general.json").write_bytes(content)
        info = TargetFile(len(content), {"sha256": sha256(content)}, "channel.general.json")
        return lambda signed: signed.targets.update({"channel.general.json": info})

    def bump(signed):
        signed.version += 1

    def moved(copy, signers, **options):
        change = pointer(copy, epoch=99)

        def both(signed):
            change(signed)
            bump(signed)
        sign(world, copy, "general", both, signers, **options)

    refused("a changed target", changed_target)
    refused("general signed by one key", lambda c: moved(c, ["general-2"]))
    refused("general signed by beta's keys", lambda c: moved(c, ["beta-1-b", "beta-2"]))
    refused("a pointer that a stolen online key moved", lambda c: moved(c, ["snapshot-b", "timestamp-b"]))
    shutil.copy(world.folder / "general-3.pem", world.keys)
    refused("general signed with a revoked key", lambda c: moved(c, ["general-2", "general-3"]))
    (world.keys / "general-3.pem").unlink()

    def rolled_back(copy):
        # The channel's role as it was before, listed by a stolen online key.
        versions = sorted((copy / "metadata").glob("*.general.json"), key=lambda p: int(p.name.split(".")[0]))
        content = versions[-2].read_bytes()
        version = int(versions[-2].name.split(".")[0])

        def listed(snapshot):
            snapshot.meta["general.json"] = MetaFile(version, len(content), {"sha256": sha256(content)})
        sign(world, copy, "snapshot", listed, ["snapshot-b"], load(copy, "snapshot")[0].signed.version + 1)

    refused("a rolled-back channel", rolled_back)

    def old_state(copy):
        snapshot, _ = load(copy, "snapshot")
        path = copy / f"metadata/{snapshot.signed.version - 1}.snapshot.json"
        content = path.read_bytes()

        def points(timestamp):
            timestamp.snapshot_meta = MetaFile(snapshot.signed.version - 1, len(content), {"sha256": sha256(content)})
            timestamp.version += 1
        sign(world, copy, "timestamp", points, ["timestamp-b"])

    refused("an old snapshot under a new timestamp", old_state)
    past = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(days=2)

    def frozen(timestamp):
        timestamp.expires = past
        timestamp.version += 1

    refused("a frozen timestamp", lambda c: sign(world, c, "timestamp", frozen, ["timestamp-b"]))

    def expired(signed):
        signed.expires = past
        bump(signed)

    refused("a role that has expired", lambda c: sign(world, c, "general", expired, ["general-1-b", "general-2"]))

    def mixed(copy):
        path = newest(copy, "general")
        older = sorted((copy / "metadata").glob("*.general.json"), key=lambda p: int(p.name.split(".")[0]))[-2]
        shutil.copyfile(older, path)

    # Clients keep the roles that they have seen: only new ones would fetch these.
    refused("a snapshot with targets metadata of another state", mixed, anew=True)

    def endless(copy, name):
        with open(copy / "metadata" / name, "ab") as file:
            file.write(b" " * (8 << 20))

    refused("an endless timestamp", lambda c: endless(c, "timestamp.json"))
    refused("an endless role", lambda c: endless(c, newest(c, "general").name), anew=True)

    def endless_target(copy):
        for path in (copy / "targets").glob("*.channel.general.json"):
            with open(path, "ab") as file:
                file.write(b" " * (8 << 20))

    refused("an endless target", endless_target)

    def added(copy):
        content = b"{}"
        (copy / f"targets/{sha256(content)}.release.evil.1.0.0.json").write_bytes(content)
        info = TargetFile(len(content), {"sha256": sha256(content)}, "release.evil.1.0.0.json")

        def change(signed):
            signed.targets["release.evil.1.0.0.json"] = info
            bump(signed)
        sign(world, copy, "releases", change, ["snapshot-b", "timestamp-b"])

    refused("a target that a stolen online key added", added)

    stranger = world.folder / "stranger"
    run(sys.argv[1], stranger)
    refused("a repository of another root", lambda c: None, root=stranger / "repository/metadata/1.root.json")

    # What only clients that read pointers can see.
    keys = ["general-1-b", "general-2"]
    refused("a replayed pointer of a lower epoch", lambda c: sign(world, c, "general", lambda s: (pointer(c, epoch=1)(s), bump(s)), keys), ours_alone=True)
    other = json.loads(world.read(world.repository, tempfile.mkdtemp(dir=world.folder))[0][0])
    mix = {"version": "1.0.0", "release_digest": other["release_digest"], "epoch": 99}
    refused("a mix of two releases", lambda c: sign(world, c, "general", lambda s: (pointer(c, **mix)(s), bump(s)), keys), ours_alone=True)

    def tricks(signed):
        for name in ["../../../escaped", "channel.general.json/../../escaped"]:
            signed.targets[name] = TargetFile(1, {"sha256": "0" * 64}, name)
        bump(signed)

    refused("target names that lead elsewhere", lambda c: sign(world, c, "general", tricks, keys), ours_alone=True)
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "copy"
        shutil.copytree(world.repository, copy)
        sign(world, copy, "general", tricks, keys)
        with served(copy) as address:
            client = Client(address, world.root.read_bytes(), tempfile.mkdtemp(dir=scratch))
            claim(client.read("../../../escaped") is None, "python-tuf finds no target under a name that leads elsewhere")


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        world = World(pathlib.Path(scratch) / "world", *sys.argv[1:])
        memory = world.folder / "memory"
        memory.mkdir()
        read, pointer = world.read(world.repository, memory)
        claim(all(read) and pointer["version"] == "1.1.0", "python-tuf reads beta, general and a release from root v1")
        world.verify(world.repository, memory / "ours")
        rotate(world, memory)
        world.read(world.repository, memory)
        world.verify(world.repository, memory / "ours")
        attack(world, memory)


if __name__ == "__main__":
    main()
