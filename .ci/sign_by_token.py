#!/usr/bin/env python3
"""Releases the digits with a key in a SoftHSM token, and lets `model_signing` and `plimsoll verify --production` judge the release. Then it
makes a repository for production, where one of the two keys that let the release into general is that of the token and the other is
encrypted.

    python .ci/sign_by_token.py PLIMSOLL SCRATCH

Says so and ends with 0 where there is no SoftHSM.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

PIN = "246813"


def claim(holds, text):
    print(("holds  " if holds else "BROKEN ") + text, flush=True)
    if not holds:
        raise SystemExit(1)


def main():
    plimsoll, scratch = sys.argv[1], pathlib.Path(sys.argv[2]) / "token"
    modules = [m for m in pathlib.Path("/usr/lib").glob("**/softhsm/libsofthsm2.so")]
    if not modules or not shutil.which("softhsm2-util"):
        print("NOT JUDGED: there is no SoftHSM here (apt-get install softhsm2)")
        return
    (scratch / "tokens").mkdir(parents=True)
    (scratch / "softhsm2.conf").write_text(f"directories.tokendir = {scratch}/tokens\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(scratch / "softhsm2.conf")}

    def run(*args, **more):
        return subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, env={**environment, **more})

    key = scratch / "key.pem"
    for made in [run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key),
                 run("openssl", "pkey", "-in", key, "-pubout", "-out", scratch / "public.pem"),
                 run("softhsm2-util", "--init-token", "--free", "--label", "my releases", "--so-pin", "97531", "--pin", PIN),
                 run("softhsm2-util", "--import", key, "--token", "my releases", "--label", "engineer", "--id", "0a", "--pin", PIN)]:
        claim(made.returncode == 0, f"{made.args[0]} {made.args[1]} {made.stderr}")
    key.unlink()
    uri = f"pkcs11:token=my%20releases;object=engineer?module-path={modules[0]}"
    release = [plimsoll, "release", "fixtures/digits/plimsoll.toml", "--budget", "10s", "--key", uri, "--output", scratch / "out", "--json"]
    locked = run(*release)
    claim(locked.returncode == 96 and "PLIMSOLL_PIN" in locked.stderr, "without a PIN the token stays locked")
    done = run(*release, PLIMSOLL_PIN=PIN)
    claim(done.returncode == 0, f"a key in a token signs a release {done.stderr[-400:] if done.returncode else ''}")
    claim(PIN not in done.stdout + done.stderr, "nothing that it says holds the PIN")
    released = json.loads(done.stdout)
    payload = pathlib.Path(released["release_dir"])
    checked = run(sys.executable, "-m", "model_signing", "verify", "key", payload, "--signature", released["signature"],
                  "--public_key", scratch / "public.pem")
    claim(checked.returncode == 0, "model_signing accepts it by the public key that never was in the token")
    checked = run(plimsoll, "verify", payload.parent, "--production", "--public-key", scratch / "public.pem")
    claim(checked.returncode == 0, f"plimsoll verifies it as production does {checked.stdout if checked.returncode else ''}")

    keys, repository = scratch / "keys", scratch / "repository"
    keys.mkdir(mode=0o700)
    (keys / "signing.key").write_text(uri + "\n")
    (keys / "general-1.key").write_text(uri + "\n")
    encrypted = keys / "general-2.pem"
    made = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes-256-cbc", "-pass", "pass:an example",
               "-out", encrypted)
    claim(made.returncode == 0, f"openssl makes an encrypted key {made.stderr}")
    encrypted.chmod(0o600)
    secrets = {"PLIMSOLL_PIN": PIN, "PLIMSOLL_PASSPHRASE_GENERAL_2": "an example"}
    here = ["--repository", repository, "--keys", keys]
    init = [plimsoll, "channel", "init", *here, "--draw-keys"]
    locked = run(*init, PLIMSOLL_PIN=PIN)
    claim(locked.returncode == 96 and "PLIMSOLL_PASSPHRASE" in locked.stderr and not repository.exists(), "without a passphrase no repository is made")
    said = []
    decision = next((payload.parent / "attestations").glob("gate.*.dsse.json"))
    for step in [init, [plimsoll, "channel", "publish", *here, "--channel", "beta", "--from", payload.parent],
                 [plimsoll, "channel", "publish", *here, "--channel", "general", "--percent", "5", "--decision", decision],
                 [plimsoll, "verify", repository, "--production", "--root", repository / "metadata/1.root.json"]]:
        # Two of three let it in: these two.
        if step[2] == "publish":
            (keys / "general-3.pem").unlink(missing_ok=True)
        done = run(*step, **secrets)
        claim(done.returncode == 0, f"{step[1]} {step[2] if step[1] == 'channel' else ''} with a token and an encrypted key {done.stderr[-400:] if done.returncode else ''}")
        said.append(done.stdout + done.stderr)
    claim(not any(secret in text for text in said for secret in secrets.values()), "nothing that they say holds the PIN or the passphrase")


main()
