#!/usr/bin/env python3
"""Releases the digits with a key in a SoftHSM token, and lets `model_signing` and `plimsoll verify --production` judge the release.

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


main()
