#!/usr/bin/env python3
"""One statement, several engines: outcomes.sql over the same device-days in SQLite, DuckDB and an Apache Spark cluster on loopback.

    python docs/check_engines.py --judge target/release/examples/judge                SQLite and DuckDB
    python docs/check_engines.py --judge target/release/examples/judge --spark        and Spark: one master, two workers
    python docs/check_engines.py --judge target/release/examples/judge --clickhouse   and ClickHouse, as PyPI's chdb brings it
    cargo xtask test-cluster                                                          SQLite, DuckDB and Spark

Every engine must write the same outcomes, and the decision on them must be the same to the last byte. Needs duckdb and pyarrow; --spark
needs 'pyspark<4.1' and Java 17. The telemetry is drawn with a seed, with devices that report twice a day, change arms or fall silent.
"""
import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SQL = open(os.path.join(ROOT, "crates/rollout/src/outcomes.sql")).read()
FIRST, DAYS, PRE = 20_760, 7, 14
DAY_COLUMNS = [
    ("device", pa.string()), ("day", pa.int32()), ("release", pa.string()), ("cohort", pa.string()), ("channel", pa.string()),
    ("inferences", pa.int64()), ("over_budget", pa.int64()), ("crashes", pa.int64()), ("restarts", pa.int64()),
    ("shadow_runs", pa.int64()), ("shadow_agreed", pa.int64()), ("energy_joules", pa.float64()),
    ("input_drift", pa.float64()), ("output_drift", pa.float64()), ("crash_loops", pa.int64()), ("signature_failures", pa.int64()),
]
REVIEW_COLUMNS = [("reviewer", pa.string()), ("device", pa.string()), ("day", pa.int32()), ("release", pa.string()), ("rating", pa.int32())]
STAGE = {"candidate": "b" * 64, "previous": "a" * 64, "channel": "general", "first_day": FIRST, "last_day": FIRST + DAYS - 1, "pre_days": PRE}


def draw(devices, seed):
    draw, apart = random.Random(seed), random.Random(seed + 1)
    days, reviews = [], []
    for number in range(devices):
        device, held = f"{number:032x}", number % 10 == 0
        habit, gone = draw.gauss(0.02, 0.01), draw.random() < 0.02
        for day in range(FIRST - PRE - 2, FIRST + DAYS + 2):
            if draw.random() < 0.04 or (gone and day >= FIRST):
                continue
            before = day < FIRST
            arm = ("waiting", "a") if before else ("holdback", "a") if held else ("treatment", "b")
            for cohort, release in [arm] if draw.random() > 0.001 or before else [arm, ("holdback", "a") if not held else ("treatment", "b")]:
                over = max(0, min(2880, round(2880 * (habit + draw.gauss(0, 0.01)))))
                days.append((
                    device, day, release * 64, cohort, "general" if draw.random() > 0.001 else "beta", 2880, over,
                    int(draw.random() < 0.001), int(draw.random() < 0.01), 288, 288 - min(288, int(draw.expovariate(0.2))),
                    round(draw.gauss(41.5, 3), 3) if draw.random() < 0.5 else None,
                    apart.random() / 7 if apart.random() < 0.5 else None, apart.random() / 9, int(apart.random() < 0.0005), 0,
                ))
        for _ in range(draw.choice([0, 0, 0, 1, 2])):
            reviews.append((f"{draw.randrange(16**8):032x}", device, draw.randrange(FIRST, FIRST + DAYS), ("a" if held else "b") * 64, draw.randint(3, 5)))
    return days, reviews


def table(rows, columns):
    return pa.table({name: pa.array([r[i] for r in rows], kind) for i, (name, kind) in enumerate(columns)})


def sqlite(folder, days, reviews, out):
    db = sqlite3.connect(":memory:")
    for name, columns, rows in [("device_days", DAY_COLUMNS, days), ("reviews", REVIEW_COLUMNS, reviews)]:
        db.execute(f"CREATE TABLE {name} ({', '.join(c for c, _ in columns)})")
        db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)
    db.execute(f"CREATE TABLE stage ({', '.join(STAGE)})")
    db.execute(f"INSERT INTO stage VALUES ({', '.join('?' * len(STAGE))})", list(STAGE.values()))
    cursor = db.execute(SQL)
    names = [d[0] for d in cursor.description]
    rows = cursor.fetchall()
    kinds = [pa.string() if n in ("device", "cohort") else pa.float64() for n in names]
    pq.write_table(table(rows, list(zip(names, kinds))), out)


def duck(folder, out):
    db = duckdb.connect()
    for name in ("device_days", "reviews", "stage"):
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder}/{name}.parquet'")
    db.execute(f"COPY ({SQL}) TO '{out}' (FORMAT parquet)")


def clickhouse(folder, out):
    from chdb.session import Session

    session = Session()
    session.query("CREATE DATABASE fleet ENGINE = Atomic")
    session.query("USE fleet")
    for name in ("device_days", "reviews", "stage"):
        session.query(f"CREATE VIEW {name} AS SELECT * FROM file('{folder}/{name}.parquet', Parquet)")
    written = session.query(f"{SQL} SETTINGS join_use_nulls = 1, cast_keep_nullable = 1, output_format_parquet_compression_method = 'snappy'", "Parquet")
    with open(out, "wb") as file:
        file.write(written.bytes())


def spark(folder, out):
    import pyspark

    home = os.path.dirname(pyspark.__file__)
    env = dict(os.environ, SPARK_LOCAL_IP="127.0.0.1", SPARK_HOME=home, PYSPARK_PYTHON=sys.executable)
    command = [os.path.join(home, "bin/spark-class")]
    logs = open(os.path.join(folder, "spark.log"), "w")
    deploy = "org.apache.spark.deploy"
    started = [subprocess.Popen(command + [f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", "7177", "--webui-port", "0"], env=env, stdout=logs, stderr=logs)]
    try:
        time.sleep(5)
        for _ in range(2):
            started.append(subprocess.Popen(
                command + [f"{deploy}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", folder, "spark://127.0.0.1:7177"],
                env=env, stdout=logs, stderr=logs,
            ))
        os.environ.update(SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
        from pyspark.sql import SparkSession

        session = (
            SparkSession.builder.master("spark://127.0.0.1:7177").config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1").config("spark.executor.memory", "800m").config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "4").getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        for name in ("device_days", "reviews", "stage"):
            session.read.parquet(f"{folder}/{name}.parquet").createOrReplaceTempView(name)
        session.sql(SQL).write.parquet(out)
        # The driver is one of those listed.
        executors = session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
        session.stop()
        return executors
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        logs.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", required=True, help="the example `judge` of crates/rollout")
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spark", action="store_true")
    parser.add_argument("--clickhouse", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        days, reviews = draw(args.devices, args.seed)
        pq.write_table(table(days, DAY_COLUMNS), f"{folder}/device_days.parquet")
        pq.write_table(table(reviews, REVIEW_COLUMNS), f"{folder}/reviews.parquet")
        stage = [(n, pa.string() if isinstance(v, str) else pa.int32()) for n, v in STAGE.items()]
        pq.write_table(table([tuple(STAGE.values())], stage), f"{folder}/stage.parquet")
        engines = {"sqlite": f"{folder}/sqlite.parquet", "duckdb": f"{folder}/duckdb.parquet"}
        sqlite(folder, days, reviews, engines["sqlite"])
        duck(folder, engines["duckdb"])
        if args.spark:
            engines["spark"] = f"{folder}/spark"
            start = time.time()
            print(f"spark ran on {spark(folder, engines['spark'])} executors, {time.time() - start:.0f} s")
        if args.clickhouse:
            engines["clickhouse"] = f"{folder}/clickhouse.parquet"
            clickhouse(folder, engines["clickhouse"])
        outcomes, decisions = {}, {}
        for engine, path in engines.items():
            rows = sorted(tuple(r.values()) for r in pq.read_table(path).to_pylist())
            outcomes[engine] = rows
            policy = os.path.join(ROOT, "docs/examples/policy.toml")
            judged = subprocess.run([args.judge, policy, "3", str(DAYS), str(PRE), path], check=True, capture_output=True, text=True)
            decisions[engine] = judged.stdout
        for engine in engines:
            if outcomes[engine] != outcomes["sqlite"]:
                different = [(a, b) for a, b in zip(outcomes[engine], outcomes["sqlite"]) if a != b]
                sys.exit(f"{engine} wrote other outcomes than SQLite: {len(outcomes[engine])} rows; first: {different[:1]}")
            if decisions[engine] != decisions["sqlite"]:
                sys.exit(f"the decision on what {engine} wrote is another one:\n{decisions[engine]}\n{decisions['sqlite']}")
        decision = json.loads(decisions["sqlite"])
        print(f"{len(days)} device-days, {len(outcomes['sqlite'])} outcomes: {', '.join(engines)} agree; {decision['verdict']}, "
              f"{decision['treatment']} with the release, {decision['holdback']} held back, left out {decision['left_out']}")


if __name__ == "__main__":
    main()
