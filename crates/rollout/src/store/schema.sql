PRAGMA application_id = 1349282125;
PRAGMA user_version = 3;
CREATE TABLE batches (
    batch INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    received INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    quarantined INTEGER NOT NULL
);
CREATE TABLE releases (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE);
CREATE TABLE days (
    device BLOB NOT NULL,
    day INTEGER NOT NULL,
    release INTEGER NOT NULL,
    cohort INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    inferences INTEGER NOT NULL,
    over_budget INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    restarts INTEGER NOT NULL,
    shadow_runs INTEGER NOT NULL,
    shadow_agreed INTEGER NOT NULL,
    energy_joules REAL,
    input_drift REAL,
    output_drift REAL,
    batch INTEGER NOT NULL,
    crash_loops INTEGER NOT NULL DEFAULT 0,
    signature_failures INTEGER NOT NULL DEFAULT 0,
    latency BLOB,
    PRIMARY KEY (device, day, release)
) WITHOUT ROWID;
CREATE TABLE opinions (
    reviewer BLOB NOT NULL,
    device BLOB NOT NULL,
    release INTEGER NOT NULL,
    day INTEGER NOT NULL,
    rating INTEGER NOT NULL,
    text TEXT,
    batch INTEGER NOT NULL,
    PRIMARY KEY (reviewer, device, release, day)
) WITHOUT ROWID;
CREATE TABLE quarantine (batch INTEGER NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE refused (
    batch INTEGER NOT NULL, reason TEXT NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (batch, reason)
) WITHOUT ROWID;
CREATE TABLE forgotten (device BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE enrolled (device BLOB PRIMARY KEY, consented INTEGER NOT NULL, gone INTEGER) WITHOUT ROWID;
CREATE TABLE lists (devices INTEGER NOT NULL);
CREATE TABLE expired (before INTEGER NOT NULL);
