#!/usr/bin/env python3
"""Plays a rollout day by day through the command line: a beta of 30 days, three stages, an alarm afterwards.

    python .ci/rollout.py EXAMPLE_PRODUCTION PLIMSOLL REPOSITORY PAGE.html

EXAMPLE_PRODUCTION is the built example `production` of plimsoll-release, PLIMSOLL the command line, REPOSITORY one for trial with sleep-wake in
general, which a device follows; PAGE.html is written for whoever looks at pages. Records come as JSON Lines, CSV, and Parquet by pyarrow and by DuckDB, in folders and in a bucket (PyPI's moto); one day is judged by
outcomes that DuckDB makes of them. Every document that a verb prints is held against its schema by PyPI's jsonschema. Ends with 1 at the first claim that does not hold.
"""
import base64
import contextlib
import csv
import datetime
import hashlib
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import boto3
import duckdb
import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from s3 import moto  # noqa: E402
from third_party import claim  # noqa: E402

SCHEMAS = HERE.parent / "crates/record/schemas"
FIRST, BETA, PRE = datetime.date(2026, 9, 1), 30, 14
STAGES = [("5%", 2), ("20%", 3), ("100%", 3)]
POLICY = f"""
schema = 1
name = "thirty-days"
holdback = "20%"
[plan]
fleet = 600
enrolled = 200
[beta]
soak = "{BETA}d"
min-devices = 100
""" + "".join(f'[[stages]]\nshare = "{share}"\nsoak = "{days}d"\n' for share, days in STAGES) + """
[metrics.over-budget]
margin = "1pp"
max = "10%"
spread = "0.5pp"
[metrics.crashed-devices]
margin = "10pp"
base = "0.5%"
[metrics.agreement]
margin = "5pp"
expected = "98%"
spread = "1pp"
[metrics.rating]
margin = 2.0
min = 2.0
spread = 0.5
[metrics.missing-devices]
margin = "8pp"
spread = "12pp"
[metrics.energy]
margin = "10%"
spread = "2%"
[metrics.input-drift]
margin = "10pp"
spread = "1pp"
"""


class Rollout:
    def __init__(self, folder, plimsoll):
        self.folder, self.plimsoll, self.documents, self.dice = folder, plimsoll, {}, random.Random(7)
        self.days, self.reviews = [], []
        at = ["--repository", folder / "own", "--keys", folder / "keys"]
        self.channel = lambda *words, accepted=0: self.run("channel", *words, *at, accepted=accepted)
        self.rollout = lambda *words, accepted=0: self.run("rollout", *words, *at, "--rollout", folder / "rollout", accepted=accepted)

    def run(self, *words, accepted=0):
        done = subprocess.run([str(w) for w in (self.plimsoll, *words)], capture_output=True, text=True, check=False)
        if done.returncode != accepted:
            said = done.stdout[:2_000] + done.stderr
            raise SystemExit(f"BROKEN {' '.join(map(str, words))} ended in {done.returncode}, expected {accepted}: {said}")
        return done

    def document(self, schema, text):
        """What a verb printed, held against the schema of its kind."""
        document, path = json.loads(text), SCHEMAS / f"{schema}.json"
        definition = json.loads(path.read_text())
        kind = jsonschema.validators.validator_for(definition)
        kind.check_schema(definition)
        kind(definition).validate(document)
        self.documents[schema] = self.documents.get(schema, 0) + 1
        return document

    def pointer(self, channel):
        status = self.document("status", self.channel("status", "--json").stdout)
        return next(c["pointer"] for c in status["channels"] if c["channel"] == channel)

    def records(self, day, channel, before=None, loops=0):
        """What devices of a channel did on a day; before the release, all of them ran the one before."""
        pointer = before or self.pointer(channel)
        previous = pointer["previous"]["release_digest"]
        records, reviews = [], []
        for number in range(200 if channel == "beta" else 600):
            device = f"{channel}-{number}"
            # As docs/devices.md has it.
            bucket = int.from_bytes(hashlib.sha256(pointer["salt"].encode() + b"\0" + device.encode()).digest()[:8], "big") % 10_000
            held = bucket >= 10_000 - pointer["holdback_bp"]
            has = bucket < pointer["percent_bp"] and not held and not before
            habit = random.Random(device)
            over, energy, drift = habit.gauss(40, 8), habit.uniform(20, 60), habit.uniform(0.02, 0.06)
            if self.dice.random() < 0.03:
                continue
            record = {
                "schema": "plimsoll.telemetry/1", "device": device, "day": day.isoformat(),
                "release": pointer["release_digest"] if has else previous, "channel": channel,
                "cohort": "treatment" if has else "holdback" if held and not before else "waiting",
                "inferences": 2_000, "over_budget": max(0, round(over + self.dice.gauss(0, 4))), "crashes": int(self.dice.random() < 0.0002),
                "restarts": 0, "crash_loops": int(has and bucket < loops), "signature_failures": 0,
                "latency_log2_us": [0] * 9 + [1_200, 700, 100], "shadow": [200, self.dice.randint(195, 199)] if has else None,
                "input_drift": round(drift, 4), "output_drift": None, "energy_joules": round(energy * self.dice.uniform(0.97, 1.03), 3),
            }
            records.append(record)
            if self.dice.random() < 0.2 and not before:
                reviews.append({"schema": "plimsoll.telemetry/1", "user": f"u-{device}", "device": device, "day": day.isoformat(),
                                "release": record["release"], "rating": self.dice.choice([3, 4, 4, 5]), "text": "slept well, \"mostly\""})
        return records, reviews

    def take(self, place, day, **expected):
        done = self.document("intake", self.rollout("ingest", place, "--day", day, "--json").stdout)
        claimed = {key: done[key] for key in expected}
        if claimed != expected or done["quarantined"]:
            raise SystemExit(f"BROKEN {place}: {done}, expected {expected}")
        return done

    def decide(self, day, accepted, *more):
        return self.document("decision", self.rollout("decide", "--day", day, "--json", *more, accepted=accepted).stdout)

    def outcomes(self, day, path):
        """What DuckDB makes of all records of the beta, by the statement for warehouses."""
        pointer, db = self.pointer("beta"), duckdb.connect()
        stage = [pointer["release_digest"], pointer["previous"]["release_digest"], "beta", number(FIRST), number(day), PRE]
        db.execute("CREATE TABLE stage (candidate TEXT, previous TEXT, channel TEXT, first_day INT, last_day INT, pre_days INT)")
        db.execute("INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?)", stage)
        for name, records in [("device_days", flat(self.days)), ("reviews", [{"reviewer": r["user"], **r} for r in self.reviews])]:
            db.register("records", pa.Table.from_pylist([{**r, "day": number(datetime.date.fromisoformat(r["day"]))} for r in records]))
            db.execute(f"CREATE TABLE {name} AS SELECT * FROM records")
        db.execute(f"COPY ({self.run('rollout', 'sql').stdout}) TO '{path}' (FORMAT parquet)")

    def status(self, day, *more):
        return self.document("rollout", self.rollout("status", "--day", day, "--json", *more).stdout)


def number(day):
    return (day - datetime.date(1970, 1, 1)).days


# One file of device-days and one of reviews, as other programs write them.
def json_lines(folder, days, reviews):
    lines = [{"kind": "device-day", **r} for r in days] + [{"kind": "review", **r} for r in reviews]
    (folder / "day.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def flat(records):
    shadow = [r["shadow"] or [None, None] for r in records]
    return [{**{k: v for k, v in r.items() if k != "shadow"}, "shadow_runs": s[0], "shadow_agreed": s[1]} for r, s in zip(records, shadow)]


def comma_separated(folder, days, reviews):
    for name, records in [("days", flat(days)), ("reviews", reviews)]:
        if records:
            out = io.StringIO()
            writer = csv.DictWriter(out, records[0].keys(), lineterminator="\r\n")
            writer.writeheader()
            for r in records:
                writer.writerow({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in r.items()})
            (folder / f"{name}.csv").write_text(out.getvalue())


def by_pyarrow(folder, days, reviews):
    for name, records in [("days", flat(days)), ("reviews", reviews)]:
        if records:
            table = pa.Table.from_pylist(records)
            dates = pa.array([datetime.date.fromisoformat(r["day"]) for r in records], pa.date32())
            table = table.set_column(table.schema.get_field_index("day"), "day", dates)
            pq.write_table(table, folder / f"{name}.parquet", compression="snappy", use_dictionary=True, row_group_size=100)


def by_duckdb(folder, days, reviews):
    with tempfile.TemporaryDirectory() as between:
        for name, records in [("days", flat(days)), ("reviews", reviews)]:
            if records:
                path = pathlib.Path(between) / f"{name}.json"
                path.write_text("\n".join(map(json.dumps, records)))
                duckdb.execute(f"COPY (SELECT * FROM read_json('{path}')) TO '{folder}/{name}.parquet' (FORMAT parquet)")


def device(world, repository):
    """A device that follows a repository, runs and reports."""
    (world.folder / "root.json").write_bytes((repository / "metadata/1.root.json").read_bytes())
    spec = world.folder / "device.toml"
    spec.write_text(f"""
schema = 1
[device]
id = "9f2c41d07be8"
state = "state"
[channel]
repository = {json.dumps(str(repository))}
root = "root.json"
name = "sleep-wake"
trial = true
""")
    first, second = (world.document("device", world.run("device", "sync", spec, "--json").stdout)["action"] for _ in range(2))
    world.run("device", "run", spec, "--data", HERE.parent / "fixtures/sleep-wake/test.npz")
    days = [world.document("telemetry", line) for line in world.run("device", "report", spec, "--today").stdout.splitlines()]
    claim((first, second) == ("switched", "none") and days[0]["inferences"] > 1_000, f"a device: {first}, then {second}; {days[0]['inferences']} inferences")


WRITERS = [json_lines, comma_separated, by_pyarrow, by_duckdb]


def main():
    example, (plimsoll, repository, page) = sys.argv[1], (pathlib.Path(p).resolve() for p in sys.argv[2:5])
    with tempfile.TemporaryDirectory() as scratch, moto(pathlib.Path(scratch)) as endpoint:
        folder = pathlib.Path(scratch)
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        s3.create_bucket(Bucket="telemetry")
        subprocess.run([example, folder], check=True)
        world = Rollout(folder, plimsoll)
        decisions = {}
        for path in (folder / "repository/decisions").glob("*.dsse.json"):
            digest = json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))["subject"][0]["digest"]["sha256"]
            decisions[digest] = path
        device(world, repository)
        world.channel("init")
        for version in ["1.0.0", "1.1.0"]:
            world.channel("publish", "--channel", "beta", "--from", folder / f"releases/sleep-wake-{version}")
            if version == "1.0.0":
                beta = world.pointer("beta")
                world.channel("publish", "--channel", "general", "--decision", decisions[beta["release_digest"]])
        (folder / "policy.toml").write_text(POLICY)
        said = world.rollout("decide", accepted=97)
        claim("no rollout has begun" in said.stderr, "nothing is decided before a rollout has begun")
        world.document("decision", world.rollout("start", "--policy", folder / "policy.toml", "--day", FIRST, "--by", "anna", "--json").stdout)
        enrolment = folder / "enrolment.csv"
        enrolment.write_text("device,consented,left\n" + "".join(f"beta-{n},{FIRST - datetime.timedelta(30)},\n" for n in range(200)))
        world.rollout("enrol", enrolment)

        # The time before, by all ways of writing.
        day = FIRST - datetime.timedelta(PRE)
        for _ in range(PRE):
            written = folder / "telemetry" / day.isoformat()
            for channel in ["beta", "general"]:
                (written / channel).mkdir(parents=True)
                days, _ = world.records(day, channel, before=world.pointer("beta"))
                world.days += days
                WRITERS[day.day % 4](written / channel, days, [])
            day += datetime.timedelta(1)
        taken = world.take(folder / "telemetry", FIRST)["taken"]
        claim(taken > 10_000, f"{taken} device-days of the time before, by {', '.join(w.__name__ for w in WRITERS)}")
        again = world.take(folder / "telemetry", FIRST, taken=0)
        claim(again["known_files"] == again["files"], "the folder a second time changes nothing")

        def live(channel, from_bucket=False, loops=0):
            days, reviews = world.records(day, channel, loops=loops)
            if channel == "beta":
                # Everybody else goes on with what they have.
                days += world.records(day, "general", before=world.pointer("beta"))[0]
            written = folder / "telemetry" / day.isoformat() / channel
            written.mkdir(parents=True)
            WRITERS[day.day % 4](written, days, reviews)
            place = written
            if from_bucket:
                for path in written.iterdir():
                    s3.upload_file(str(path), "telemetry", f"fleet/{day}/{path.name}")
                place = f"s3://telemetry/fleet/{day}"
            world.take(place, day, taken=len(days) + len(reviews))
            world.days, world.reviews = world.days + days, world.reviews + reviews
            return place

        seen = []
        for nth in range(1, BETA + 1):
            place = live("beta", from_bucket=nth % 3 == 0)
            if nth == 11:
                world.outcomes(day, folder / "outcomes.parquet")
                found = [world.decide(day, 102, *more) for more in (["--dry-run"], ["--outcomes", folder / "outcomes.parquet"])]
                units = [sum(m["treatment"]["units"] for m in d["metrics"]) for d in found]
                for verdict in found:
                    verdict["evidence"].update(batch=None, sha256=None)
                claim(found[0] == found[1] and units[0] > 1_000, f"DuckDB's outcomes say the same as the store: {units[1]} figures of devices")
            else:
                verdict = world.decide(day, 0 if nth == BETA else 102)
            seen.append(verdict["missing"])
            if nth == 12:
                text = world.rollout("status", "--day", day).stdout
                claim("18 more days" in text and "rating" in text, "on the 12th day the screen says that 18 more are missing")
                said = world.rollout("advance", "--day", day, accepted=97)
                claim("18 more days" in said.stderr, "and nobody gets on before")
            day += datetime.timedelta(1)
        claim([len(m) for m in seen[:-1]] and not seen[-1], f"a beta of {BETA} days, each ingested and decided on: {len(seen)} judgements")
        again = world.take("s3://telemetry/fleet", day, taken=0)
        claim(again["known_files"] == again["files"] > 8, f"the bucket as a whole: {again['files']} files, all known")
        said = world.rollout("ingest", "s3://telemetry/flet", accepted=96)
        claim("nothing lies below s3://telemetry/flet" in said.stderr, "a prefix that is not there is no empty folder")
        said = world.rollout("ingest", "s3://nobodys/a", accepted=96)
        claim("nobodys" in said.stderr, f"nor is a bucket: {said.stderr.splitlines()[0][:120]}")
        s3.put_object(Bucket="telemetry", Key="bad/cut.parquet", Body=b"PAR1 and nothing else")
        said = world.rollout("ingest", "s3://telemetry/bad/cut.parquet", accepted=96)
        claim("s3://telemetry/bad/cut.parquet" in said.stderr, f"a broken object is named: {said.stderr.splitlines()[0][:120]}")
        duckdb.execute(f"COPY (SELECT 1 AS device) TO '{folder}/other.parquet' (FORMAT parquet, COMPRESSION zstd)")
        said = world.rollout("ingest", folder / "other.parquet", accepted=96)
        claim("compressed by Snappy" in said.stderr, "another compression is refused with what to do")

        for share, days in STAGES:
            world.document("decision", world.rollout("advance", "--day", day, "--by", "anna", "--json").stdout)
            general = world.pointer("general")
            if general["percent_bp"] != int(share[:-1]) * 100 or not general["decision_sha256"]:
                raise SystemExit(f"BROKEN the channel is at {general}")
            for nth in range(1, days + 1):
                live("general")
                last = world.decide(day, 0 if nth == days else 102)
                day += datetime.timedelta(1)
        world.document("decision", world.rollout("advance", "--day", day, "--by", "anna", "--json").stdout)
        state = world.status(day)["state"]
        claim(state == "complete", f"advanced to {', '.join(s for s, _ in STAGES)}: {state} after {(day - FIRST).days} days")
        replayed = world.document("replay", world.rollout("replay", "--json", accepted=102).stdout)
        claim(replayed["elsewhere"] == 1 and all(j["same_bytes"] for j in replayed["judgements"]), "without those outcomes a replay is not whole")
        replayed = world.document("replay", world.rollout("replay", "--outcomes", folder / "outcomes.parquet", "--json").stdout)
        claim(all(j["same_bytes"] for j in replayed["judgements"]), f"{len(replayed['judgements'])} judgements are replayed byte for byte")

        live("general")
        world.rollout("watch", "--day", day)
        day += datetime.timedelta(1)
        live("general", loops=300)
        world.rollout("watch", "--day", day, accepted=100)
        problem = next((folder / "rollout").glob("problem-*.json"))
        reasons = world.document("problem", problem.read_text())["reasons"]
        claim(world.pointer("general")["state"] == "halted" and any("crash loop" in r for r in reasons), f"watched afterwards, and halted: {reasons[0]}")
        standing = world.status(day, "--html", page)
        claim(standing["state"] == "halted" and standing["anchored"], f"a page of {page.stat().st_size} bytes shows {standing['decisions']} decisions")
        world.document("decision", world.rollout("rollback", "--reason", "crash loops", "--by", "anna", "--day", day, "--json").stdout)
        claim(world.pointer("general")["version"] == "1.0.0", "everybody is back at 1.0.0")
        (folder / "policy.toml").write_text(POLICY)
        world.document("simulation", world.run("rollout", "simulate", folder / "policy.toml", "--runs", "5", "--harm", "crash-loops=5%", "--json").stdout)
        claim(True, f"all of {sum(world.documents.values())} documents hold to their schemas: {world.documents}")


with contextlib.suppress(BrokenPipeError):
    main()
