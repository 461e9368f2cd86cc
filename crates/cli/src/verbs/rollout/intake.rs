//! What goes into the store, and what goes out of it for good.

use std::{
    fs,
    path::{Path, PathBuf},
};

use plimsoll_profile::Day;
use plimsoll_record::Intake;
use plimsoll_rollout::ingest::{self, Enrolment};
use plimsoll_trust::{PublicKey, dsse::Envelope, hex, read_bounded, sha256_of_file};

use super::{
    args::At,
    arrived::{self, Arrived, envelope_of},
    place::Place,
};
use crate::{exit::Exit, failure::Failure, manual::Code, ui, world::World};

/// Payload type of a gateway's envelope: `{"sha256": "…"}` of the file beside it.
const BATCH: &str = "application/vnd.plimsoll.batch+json";

pub(super) fn ingest(
    world: &World,
    at: &At,
    paths: &[PathBuf],
    keep_text: bool,
    gateway_keys: &[PathBuf],
) -> Result<Exit, Failure> {
    let place = Place::open(at)?;
    let mut store = place.store()?;
    let rules = place.rules(&store, keep_text)?;
    let keys = gateway_keys.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut done = Intake { schema: Intake::SCHEMA.into(), ..Intake::default() };
    for path in paths {
        arrived::each(path, |file| {
            if !keys.is_empty() {
                signed(file, &keys)?;
            }
            let receipt = ingest::ingest_copy(&mut store, &file.name, &file.bytes, &rules)?;
            done.files += 1;
            done.known_files += u64::from(receipt.known);
            done.rows += receipt.rows;
            done.taken += receipt.taken;
            done.repeated += receipt.repeated;
            for (reason, n) in receipt.quarantined {
                *done.quarantined.entry(reason.words().into()).or_default() += n;
            }
            Ok(())
        })?;
    }
    done.expired = store.expire(rules.today - rules.retention)?;
    world.print(&done, || text(&done))?;
    Ok(Exit::Pass)
}

fn text(done: &Intake) -> String {
    let mut lines = vec![format!(
        "{} file(s), {} of them known; {} rows: {} taken, {} were there already",
        done.files,
        done.known_files,
        ui::count(done.rows),
        ui::count(done.taken),
        ui::count(done.repeated)
    )];
    lines.extend(done.quarantined.iter().map(|(reason, n)| format!("quarantined {}: {reason}", ui::count(*n))));
    if done.expired > 0 {
        lines.push(format!("deleted {} rows from before the retention", ui::count(done.expired)));
    }
    lines.join("\n") + "\n"
}

/// Refuses a file that no gateway vouches for.
fn signed(file: &Arrived, keys: &[PublicKey]) -> Result<(), Failure> {
    let refused = |reason: String| {
        Failure::new(Code::VerificationRefused, format!("{} is not signed by a gateway: {reason}", file.name.display()))
            .help("nothing of it was taken; have the gateway send it again, or leave --gateway-key away")
    };
    let envelope = envelope_of(&file.bytes);
    if !envelope.exists() {
        return Err(refused(format!("there is no {}", envelope_of(&file.name).display())));
    }
    let bytes = read_bounded(&envelope, 1 << 20).map_err(|e| refused(e.to_string()))?;
    let keys: Vec<&PublicKey> = keys.iter().collect();
    let payload =
        Envelope::from_json(&bytes).and_then(|e| e.verify(BATCH, &keys, 1)).map_err(|e| refused(e.to_string()))?;
    let said: serde_json::Value = serde_json::from_slice(&payload).map_err(|e| refused(e.to_string()))?;
    let (digest, _) = sha256_of_file(&file.bytes).map_err(|e| refused(e.to_string()))?;
    if said.get("sha256").and_then(|v| v.as_str()) != Some(&hex(&digest)) {
        return Err(refused("its bytes are not those that were signed".into()));
    }
    Ok(())
}

pub(super) fn enrol(at: &At, list: &Path) -> Result<Exit, Failure> {
    let place = Place::open(at)?;
    let pseudonyms = place.pseudonyms()?;
    let content = fs::read_to_string(list).map_err(|e| Failure::not_read(list, &e))?;
    let mut enrolled = Vec::new();
    for (number, line) in
        (1_u64..).zip(content.lines()).filter(|(n, l)| !(l.trim().is_empty() || *n == 1 && l.starts_with("device")))
    {
        let wrong = |what: &str| {
            Failure::new(Code::BadData, format!("line {number} of {} {what}", list.display()))
                .help("each line is device,consented,left: days as 2026-11-30, the last one empty where nobody left")
        };
        let mut fields = line.split(',').map(str::trim);
        let device = fields.next().filter(|d| !d.is_empty()).ok_or_else(|| wrong("names no device"))?;
        let day = |text: &str| Day::parse(text).map(Day::number);
        let consented = fields.next().and_then(day).ok_or_else(|| wrong("has no day of consent"))?;
        let left = match fields.next() {
            None | Some("") => None,
            Some(text) => Some(day(text).ok_or_else(|| wrong("has no day of leaving"))?),
        };
        enrolled.push((pseudonyms.device(device), Enrolment { consented, left }));
    }
    place.store()?.enrol(&enrolled)?;
    ui::say(&format!("{} devices are enrolled", enrolled.len()));
    Ok(Exit::Pass)
}

pub(super) fn forget(at: &At, device: &str) -> Result<Exit, Failure> {
    let place = Place::open(at)?;
    let gone = place.store()?.forget(&place.pseudonyms()?, device)?;
    ui::say(&format!(
        "{gone} rows are deleted; what comes of this device is refused. Decisions keep sums and digests alone"
    ));
    Ok(Exit::Pass)
}
