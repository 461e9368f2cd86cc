//! The audit log: JSON lines in `audit/`, chained by digest, the last one anchored as a target of the repository. The lines are
//! written right before the change that they tell of takes effect, so that no change is without its line; lines of a change that
//! never took effect are said to be such by the next writer.

use std::time::SystemTime;

use plimsoll_record::{AuditAction, AuditEntry, AuditHead};
use plimsoll_trust::{
    Keyring, sha256_hex,
    tuf::{self, Client, Editor, Source},
};

use crate::{
    Place, ReleaseError, catalogue,
    roles::{AUDIT, AUDIT_TARGET},
};

/// Lines a file; an append writes the last file anew.
const LINES: u64 = 256;
const FILE_LIMIT: u64 = 16 << 20;
/// What people write is kept as it is, up to a length.
const LONGEST_TEXT: usize = 4_000;

/// Who changes a repository, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who, as they say.
    pub person: String,
    /// Why; may be empty.
    pub reason: String,
}

impl Default for Actor {
    fn default() -> Self {
        Self { person: "unnamed".into(), reason: String::new() }
    }
}

/// What happened, in a line to be.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) action: AuditAction,
    pub(crate) meaning: String,
}

impl Event {
    pub(crate) fn new(action: AuditAction, meaning: impl Into<String>) -> Self {
        Self { action, meaning: meaning.into() }
    }
}

/// A log that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLog {
    /// Every line that the repository vouches for.
    pub entries: Vec<AuditEntry>,
    /// Lines after those: of a change that is being made, or whose writer died.
    pub unanchored: u64,
}

fn refused(reason: impl Into<String>) -> ReleaseError {
    ReleaseError::Refused { what: "the audit log".into(), reason: reason.into() }
}

fn file_of(index: u64) -> String {
    format!("audit/{:06}.jsonl", index / LINES)
}

fn head(client: &Client) -> Result<Option<AuditHead>, ReleaseError> {
    let head: Option<AuditHead> = catalogue::document(client, AUDIT_TARGET)?;
    match head {
        Some(head) if head.schema != AuditHead::SCHEMA => {
            Err(refused(format!("its head's schema is `{}`", head.schema)))
        }
        head => Ok(head),
    }
}

/// The lines of one file.
fn lines(source: &dyn Source, file: &str) -> Result<Vec<String>, ReleaseError> {
    let Some(bytes) = source.get(file, FILE_LIMIT)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes).map_err(|_| refused(format!("{file} is no text")))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(refused(format!("the last line of {file} is cut short")));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Verifies the whole log of a repository.
pub fn audit_log(repository: impl Into<Place>, root: Option<&[u8]>) -> Result<AuditLog, ReleaseError> {
    let place = repository.into();
    let client = match root {
        Some(root) => Client::load_from(std::sync::Arc::clone(&place.0), root, None)?,
        None => catalogue::open(&place)?,
    };
    verified_log(&client)
}

pub(crate) fn verified_log(client: &Client) -> Result<AuditLog, ReleaseError> {
    let head = head(client)?;
    let vouched = head.as_ref().map_or(0, |h| h.entries);
    let (mut entries, mut unanchored, mut previous) = (Vec::new(), 0, None);
    let mut index: u64 = 0;
    loop {
        let file = file_of(index);
        let lines = lines(client.source().as_ref(), &file)?;
        if lines.len() as u64 > LINES {
            return Err(refused(format!("{file} has {} lines, {LINES} are the most", lines.len())));
        }
        for line in &lines {
            let place = format!("line {} of {file}", index % LINES + 1);
            let entry: AuditEntry = serde_json::from_str(line).map_err(|e| refused(format!("{place}: {e}")))?;
            if entry.schema != AuditEntry::SCHEMA || entry.index != index {
                return Err(refused(format!("{place} is not entry {index}")));
            }
            if entry.previous != previous {
                return Err(refused(format!("{place} does not follow the line before: one of them was changed")));
            }
            previous = Some(sha256_hex(line.as_bytes()));
            index += 1;
            if index <= vouched {
                entries.push(entry);
            } else {
                unanchored += 1;
            }
            if index == vouched && previous != head.as_ref().map(|h| h.sha256.clone()) {
                return Err(refused(format!(
                    "{place} is not the line that the repository vouches for: it was changed"
                )));
            }
        }
        if (lines.len() as u64) < LINES {
            break;
        }
    }
    if index < vouched {
        return Err(refused(format!("it was cut short: {index} of {vouched} lines are left")));
    }
    Ok(AuditLog { entries, unanchored })
}

/// Adds lines to a change in the making, and anchors them with it.
pub(crate) fn append(
    editor: &mut Editor<'_>,
    events: &[Event],
    actor: &Actor,
    keys: &Keyring,
    now: SystemTime,
) -> Result<(), ReleaseError> {
    let head = head(editor.client())?;
    let vouched = head.as_ref().map_or(0, |h| h.entries);
    let source = std::sync::Arc::clone(editor.source());
    let (mut index, mut previous) = (vouched, head.map(|h| h.sha256));
    // The file that the next line goes into; after the last line of a full file that is a new one.
    let mut file = file_of(index);
    let mut text = lines(source.as_ref(), &file)?;
    let known = index % LINES;
    let here = text.len() as u64;
    if here < known {
        return Err(refused(format!("it was cut short: {file} has {here} lines, {known} are vouched for")));
    }
    // The chain is checked where it is continued; the whole of it is `audit verify`'s.
    let last = known.checked_sub(1).and_then(|at| text.get(usize::try_from(at).ok()?));
    if let Some(last) = last
        && Some(sha256_hex(last.as_bytes())) != previous
    {
        return Err(refused(format!("the last line of {file} is not the one that the repository vouches for")));
    }
    let mut dead: u64 = 0;
    for line in text.iter().skip(usize::try_from(known).unwrap_or(usize::MAX)) {
        previous = Some(sha256_hex(line.as_bytes()));
        index += 1;
        dead += 1;
    }
    let recovered = Event::new(
        AuditAction::Recovered,
        format!("the {dead} lines before tell of a change that did not take effect: its writer died"),
    );
    let ids = ids(editor.client(), keys)?;
    let utc = tuf::utc(now)?;
    for event in (dead > 0).then_some(&recovered).into_iter().chain(events) {
        let short = |text: &str| text.chars().take(LONGEST_TEXT).collect::<String>();
        let entry = AuditEntry {
            schema: AuditEntry::SCHEMA.into(),
            index,
            previous: previous.take(),
            utc: utc.clone(),
            person: short(&actor.person),
            keys: ids.clone(),
            action: event.action,
            meaning: short(&event.meaning),
            reason: short(&actor.reason),
        };
        let line = serde_json::to_string(&entry)
            .map_err(|source| ReleaseError::Encode { what: "an audit entry".into(), source })?;
        if file_of(index) != file {
            editor.put_last(&file, (text.join("\n") + "\n").into_bytes());
            (file, text) = (file_of(index), Vec::new());
        }
        previous = Some(sha256_hex(line.as_bytes()));
        text.push(line);
        index += 1;
    }
    editor.put_last(&file, (text.join("\n") + "\n").into_bytes());
    let head = AuditHead { schema: AuditHead::SCHEMA.into(), entries: index, sha256: previous.unwrap_or_default() };
    let bytes = plimsoll_trust::to_sorted_json(&head)
        .map_err(|source| ReleaseError::Encode { what: AUDIT_TARGET.into(), source })?;
    Ok(editor.set_target(AUDIT, AUDIT_TARGET, bytes)?)
}

/// Ids of the keys at hand that sign for people in this repository.
fn ids(client: &Client, keys: &Keyring) -> Result<Vec<String>, ReleaseError> {
    let listed: Vec<String> =
        client.authorities().into_iter().filter(|a| a.role == AUDIT).flat_map(|a| a.key_ids).collect();
    let mut ids = Vec::new();
    for (_, key) in keys.iter() {
        let id = tuf::key_id(key.public_key())?;
        if listed.contains(&id) {
            ids.push(id);
        }
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}
