#!/usr/bin/env python3
"""Keeps a production repository in an S3-compatible store on loopback (PyPI's moto), and lets python-tuf and `plimsoll` read it.

    python .ci/s3.py EXAMPLE_PRODUCTION PLIMSOLL [KILLS]

EXAMPLE_PRODUCTION is the built example `production` of plimsoll-release, PLIMSOLL the command line. Every verb that moves a channel or changes
a key, a rollout from its start to its rollback, two publishers at once, a publisher that holds the lock, and KILLS (3) that are killed at
random moments. Ends with 1 at the first claim that does not hold.
"""
import base64
import contextlib
import datetime
import functools
import http.server
import json
import os
import pathlib
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_REGION="us-east-1", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "crates/release/tests"))
import boto3  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from third_party import Client, claim  # noqa: E402

BUCKET, PREFIX = "models", "sleep-wake"
ADDRESS = f"s3://{BUCKET}/{PREFIX}"


@contextlib.contextmanager
def moto(folder):
    """An object store on loopback, which the environment of whatever is started names; its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with open(folder / "moto.log", "wb") as log:
        server = subprocess.Popen([sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
                                  stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            time.sleep(0.1)
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        yield endpoint
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def store(folder):
    """A bucket in it."""
    with moto(folder) as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        # Whoever asks may read, as of a store that devices read themselves.
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
        client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
        yield client, endpoint


@contextlib.contextmanager
def https(folder, scratch):
    """A folder on a server with a certificate of an authority that only who is told so trusts; its address and the authority's file."""
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ["authority", "localhost"]}
    names = {name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in keys}

    def certificate(name, extension):
        return (x509.CertificateBuilder().subject_name(names[name]).issuer_name(names["authority"]).public_key(keys[name].public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
                .add_extension(extension, critical=False).sign(keys["authority"], hashes.SHA256())).public_bytes(serialization.Encoding.PEM)
    pem, both = scratch / "authority.pem", scratch / "server.pem"
    pem.write_bytes(certificate("authority", x509.BasicConstraints(ca=True, path_length=None)))
    both.write_bytes(keys["localhost"].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                     + certificate("localhost", x509.SubjectAlternativeName([x509.DNSName("localhost")])))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://localhost:{server.server_port}", pem
    finally:
        server.shutdown()


class World:
    def __init__(self, folder, plimsoll):
        self.folder, self.plimsoll, self.keys = folder, plimsoll, folder / "keys"

    def command(self, *arguments):
        return [str(a) for a in (self.plimsoll, *arguments)]

    def run(self, *arguments, accepted=0):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        if done.returncode != accepted:
            raise SystemExit(f"BROKEN {' '.join(map(str, arguments))} ended in {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def channel(self, verb, *arguments):
        return self.run("channel", verb, "--repository", ADDRESS, "--keys", self.keys, *arguments)

    def rollout(self, verb, *arguments, accepted=0):
        return self.run("rollout", verb, "--repository", ADDRESS, "--keys", self.keys, "--rollout", self.folder / "rollout", *arguments,
                        accepted=accepted)

    def publish(self, version):
        return ("channel", "publish", "--channel", "beta", "--from", self.folder / f"releases/sleep-wake-{version}", "--repository", ADDRESS,
                "--keys", self.keys, "--person", "release desk", "--reason", "a rehearsal")

    def status(self):
        return json.loads(self.run("channel", "status", "--repository", ADDRESS, "--json").stdout)

    def pointer(self, channel):
        return next(c["pointer"] for c in self.status()["channels"] if c["channel"] == channel)

    def beta(self):
        return self.pointer("beta")

    def log(self):
        return [json.loads(line) for line in self.run("audit", "export", "--repository", ADDRESS, "--root", self.folder / "root.json").stdout.splitlines()]

    def verify(self, address=ADDRESS, *more):
        return self.run("verify", address, "--production", "--root", self.folder / "root.json", "--memory", self.folder / "memory", *more)


POLICY = """
schema = 1
name = "rehearsal"
[plan]
fleet = 600
enrolled = 600
[beta]
soak = "8d"
[[stages]]
share = "20%"
soak = "3d"
[[stages]]
share = "100%"
soak = "3d"
[metrics.over-budget]
margin = "1pp"
max = "10%"
spread = "0.5pp"
"""


def at(pointer):
    return pointer["version"], pointer["percent_bp"], pointer["state"]


def rolled_out(world):
    """A rollout of what beta is at; a person takes every step, since no device reports anything."""
    (world.folder / "policy.toml").write_text(POLICY)
    world.rollout("start", "--policy", world.folder / "policy.toml", "--day", "2026-01-01", "--by", "anna")
    # Held for longer than evidence is waited for: a person may decide.
    world.rollout("decide", "--day", "2026-03-10", accepted=102)
    world.rollout("resolve", "--day", "2026-03-11", "--by", "anna", "--reason", "the ward waits")
    shares = [at(world.pointer("general"))]
    for verb in ["halt", "resume", "halt"]:
        world.rollout(verb, "--day", "2026-03-12", "--by", "anna", "--reason", "a rehearsal")
        shares.append(at(world.pointer("general")))
    world.rollout("rollback", "--day", "2026-03-12", "--by", "anna", "--reason", "a rehearsal")
    shares.append(at(world.pointer("general")))
    claim(shares == [("1.1.0", 2000, state) for state in ["active", "halted", "active", "halted"]] + [("1.0.0", 10000, "active")]
          and at(world.beta())[0] == "1.0.0", f"a rollout starts, is resolved, halted, resumed and rolled back: {shares}")
    override = next(line for line in world.log() if line["action"] == "override")
    claim(override["person"] == "anna" and "the ward waits" in override["reason"] and override["keys"],
          f"what a person decided is in the log: {override['person']}: {override['meaning']}")
    world.verify()


def moved(world, decision):
    """The verbs of channels and keys that nothing else here uses."""
    world.run(*world.publish("1.1.0"))
    world.channel("publish", "--channel", "general", "--percent", "5", "--decision", decision)
    world.channel("advance", "--channel", "general", "--percent", "20")
    advanced = world.pointer("general")
    world.channel("rollback", "--channel", "general")
    claim((at(advanced), at(world.pointer("general"))) == (("1.1.0", 2000, "active"), ("1.0.0", 10000, "active")),
          "a channel goes to another share, and back to the release before")
    for old in ["timestamp", "beta-1", "targets-1", "root-1"]:
        new = world.keys / f"{old}-b.pem"
        new.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        new.chmod(0o600)
        world.channel("rotate-key", "--key", old, "--new", new, "--holder", "somebody new")
        (world.keys / f"{old}.pem").unlink()
        world.verify()
    world.channel("revoke", "--key", "general-3", "--role", "general")
    roles = {key["name"]: key["roles"] for key in world.status()["keys"]}
    claim("beta-1" not in roles and "beta" in roles["beta-1-b"] and "general" not in roles["general-3"],
          "keys of four roles are replaced, one of general is revoked, and who holds the first root follows")
    world.verify()


def main():
    example, plimsoll = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory() as scratch, store(pathlib.Path(scratch)) as (s3, endpoint):
        folder = pathlib.Path(scratch)
        # Keys, two releases, and what a gate decided of them.
        subprocess.run([example, folder], check=True)
        world = World(folder, plimsoll)
        decisions = {}
        for path in (folder / "repository/decisions").glob("*.dsse.json"):
            digest = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))["subject"][0]["digest"]["sha256"]
            decisions[digest] = path

        said = world.run("channel", "status", "--repository", ADDRESS, accepted=96)
        claim("no repository" in said.stderr, f"a bucket without a repository says so: {said.stderr.splitlines()[0]}")
        said = world.run("channel", "init", "--repository", "s3://nobodys/a", "--keys", world.keys, accepted=96)
        claim("nobodys" in said.stderr, f"a bucket that is not there says so: {said.stderr.splitlines()[0][:160]}")
        world.run("channel", "init", "--repository", ADDRESS, "--keys", world.keys)
        (folder / "root.json").write_bytes(s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}/metadata/1.root.json")["Body"].read())
        world.run(*world.publish("1.0.0"))
        beta = world.beta()
        world.channel("publish", "--channel", "general", "--decision", decisions[beta["release_digest"]])
        world.channel("refresh")
        world.channel("halt", "--channel", "general", "--reason", "a rehearsal")
        world.channel("resume", "--channel", "general")
        steps = world.verify().stdout
        claim("verdict  pass" in steps, "made, published, promoted, refreshed, halted and resumed: plimsoll verifies s3://")
        claim("lines hold" in world.run("audit", "verify", "--repository", ADDRESS).stderr, "the audit log holds in the bucket")

        web = f"{endpoint}/{BUCKET}/{PREFIX}"
        claim("verdict  pass" in world.verify(web).stdout, "plimsoll verifies the same bucket over HTTP, from the given root")
        claim("general" in world.run("channel", "status", "--repository", web).stdout, "channel status reads it over HTTP")
        said = world.run("channel", "refresh", "--repository", web, "--keys", world.keys, accepted=96)
        claim("read, not written" in said.stderr, f"a web server is not written to: {said.stderr.splitlines()[0][:120]}")

        def tuf_reads():
            with tempfile.TemporaryDirectory() as memory:
                client = Client(web, (folder / "root.json").read_bytes(), memory)
                pointers = [json.loads(client.read(f"channel.{channel}.json")) for channel in ["beta", "general"]]
                target = pointers[0]
                client.read(f"release.{target['release']}.{target['version']}.json")
                return pointers
        claim(tuf_reads()[1]["version"] == "1.0.0", "python-tuf reads beta and general from root v1 over the store's HTTP")
        world.run(*world.publish("1.1.0"))
        second = decisions[world.beta()["release_digest"]]
        rolled_out(world)
        moved(world, second)
        claim(tuf_reads()[0]["version"] == "1.1.0", "python-tuf follows every new key from root v1")

        with https(folder / "repository", folder) as (address, certificate):
            command = world.command("verify", address, "--root", folder / "repository/metadata/1.root.json", "--production")
            trusting = {**os.environ, "SSL_CERT_FILE": str(certificate), "NO_PROXY": "localhost"}
            said = subprocess.run(command, capture_output=True, text=True, check=False, env=trusting)
            claim(said.returncode == 0 and "verdict  pass" in said.stdout, f"plimsoll verifies https:// by a certificate that it is told to trust {said.stderr}")
            said = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_PROXY": "localhost"})
            claim(said.returncode == 96 and "certificate" in said.stderr.lower(), f"and by no other: {said.stderr.splitlines()[0]}")

        # Two at once.
        epoch = world.beta()["epoch"]
        both = [subprocess.Popen(world.command(*world.publish(v)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for v in ["1.1.0", "1.0.0"]]
        ends = [(p.communicate(), p.returncode) for p in both]
        done = sum(code == 0 for _, code in ends)
        told = sum(code == 1 and "is being changed by" in err for (_, err), code in ends)
        claim(done >= 1 and done + told == 2 and world.beta()["epoch"] <= epoch + 2,
              f"of two publishers at once {done} came to an end, one after the other, and {told} were told who is writing")
        world.verify()

        # Somebody who lives and does not let go.
        stop = threading.Event()
        key = {"Bucket": BUCKET, "Key": f"{PREFIX}/.lock"}

        def holds():
            beat = 0
            while not stop.is_set():
                s3.put_object(**key, Body=json.dumps({"holder": "process 7 on the other desk", "nonce": "1", "beat": beat}).encode())
                beat += 1
                stop.wait(1)
        free = s3.get_object(**key)["Body"].read()
        holder = threading.Thread(target=holds, daemon=True)
        holder.start()
        try:
            time.sleep(0.5)
            said = subprocess.run(world.command(*world.publish("1.1.0")), capture_output=True, text=True, check=False)
        finally:
            stop.set()
            holder.join()
            s3.put_object(**key, Body=free)
        claim(said.returncode == 1 and "is being changed by process 7 on the other desk" in said.stderr,
              f"the second is told who the first is: {said.stderr.splitlines()[0]}")

        # Killed at random points, and the next one repairs.
        versions = ["1.1.0", "1.0.0"]
        if world.beta()["version"] == "1.1.0":
            versions.reverse()
        begin = time.monotonic()
        world.run(*world.publish(versions[0]))
        usual = time.monotonic() - begin
        versions.reverse()
        dice, waited, looks, broken, done = random.Random(9), 0, [], [], threading.Event()

        def looking():
            # A client of its own, that remembers what it saw.
            while not done.is_set():
                said = subprocess.run(world.command("verify", web, "--production", "--root", folder / "root.json", "--memory", folder / "looking"),
                                      capture_output=True, text=True, check=False)
                looks.append(said.returncode)
                if said.returncode:
                    broken.append(said.stdout + said.stderr)
        client = threading.Thread(target=looking, daemon=True)
        client.start()
        for _ in range(kills):
            publisher = subprocess.Popen(world.command(*world.publish(versions[0])), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0.05, usual))
            publisher.kill()
            publisher.wait()
            world.verify()
            tuf_reads()
            if json.loads(s3.get_object(**key)["Body"].read())["holder"] is not None:
                # The first lock of the dead is waited for, ten seconds; of the others it is as if they had passed.
                if waited:
                    s3.put_object(**key, Body=free)
                waited += 1
            world.run(*world.publish(versions[0]))
            pointer = world.beta()
            if pointer["version"] != versions[0]:
                raise SystemExit(f"BROKEN the next publish repaired nothing: {pointer}")
            versions.reverse()
        world.verify()
        done.set()
        client.join()
        claim(looks and not broken, f"a client that looked {len(looks)} times all the while never saw an invalid repository {''.join(broken[:1])}")
        claim(True, f"{kills} publishers killed within the {usual:.2f} s that one takes, {waited} of them under their lock: valid for both clients at once, "
              "and the next publisher takes over")
        log = world.run("audit", "verify", "--repository", ADDRESS).stderr.strip()
        claim("lines hold" in log, f"the audit log: {log}")


if __name__ == "__main__":
    main()
