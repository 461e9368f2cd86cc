//! Who keeps a repository: its making for production, and other keys for its roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::SystemTime,
};

use plimsoll_record::{AuditAction, KeyStatus};
use plimsoll_trust::{
    FileKey, KeyError, Keyring, NoSecrets, PublicKey, Secrets,
    tuf::{self, Client, Creation, Editor, FolderStore, Store, TufError},
};
use serde_json::{Value, json};

use super::Repository;
use crate::{
    ReleaseError,
    audit::{self, Event},
    roles::{CHANNELS, ROLES, key_names},
};

/// Field of the targets role that says whose keys are whose.
const HOLDERS: &str = "holders";

/// A key to put in the place of another.
#[derive(Debug)]
pub struct NewKey {
    /// What the repository calls it.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Its public half.
    pub public: PublicKey,
    /// The private one, where it is at hand: it signs at once.
    pub private: Option<FileKey>,
}

impl NewKey {
    /// From a PEM file of either half; `secrets` open an encrypted one.
    pub fn read(path: &Path, holder: &str, secrets: &dyn Secrets) -> Result<Self, ReleaseError> {
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let (name, holder) = (name.trim_end_matches(".pub").to_owned(), holder.to_owned());
        match FileKey::read_with(path, secrets) {
            Ok(key) => {
                let public = plimsoll_trust::KeySource::public_key(&key).clone();
                Ok(Self { name, holder, public, private: Some(key) })
            }
            Err(KeyError::NotPrivate { .. } | KeyError::Exposed { .. }) => {
                Ok(Self { name, holder, public: PublicKey::read(path)?, private: None })
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// What is at hand of a key before a repository is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtHand {
    /// The private key, or where it is.
    Private,
    /// The public half.
    Public,
    /// Nothing.
    Nothing,
}

/// What a folder has of each key that a repository for production takes, by name. `people` hold keys that there are.
pub fn keys_at_hand(
    folder: &Path,
    people: &BTreeMap<String, String>,
) -> Result<BTreeMap<&'static str, AtHand>, ReleaseError> {
    let at_hand = |name: &'static str| {
        let found = match folder.join(public_file(name)).exists() {
            _ if Keyring::holds(folder, name) => AtHand::Private,
            true => AtHand::Public,
            false => AtHand::Nothing,
        };
        (name, found)
    };
    let found: BTreeMap<&str, AtHand> = key_names().into_iter().map(at_hand).collect();
    match people.keys().find(|name| !found.contains_key(name.as_str())) {
        Some(name) => Err(ReleaseError::NoSuchKey(name.chars().take(80).collect())),
        None => Ok(found),
    }
}

fn public_file(name: &str) -> String {
    format!("{name}.pub.pem")
}

fn holder(name: &str, holder: &str) -> Value {
    json!({"name": name, "holder": holder})
}

/// Every key that the repository lists: its name, who holds it, and the roles that it signs for.
pub(crate) fn keys_of(client: &Client) -> Vec<KeyStatus> {
    let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for authority in client.authorities() {
        for id in authority.key_ids {
            roles.entry(id).or_default().push(authority.role.clone());
        }
    }
    let text = |id: &str, field: &str| {
        let said = client.note(HOLDERS).and_then(|h| h.get(id)).and_then(|k| k.get(field)).and_then(Value::as_str);
        said.unwrap_or_default().to_owned()
    };
    let mut keys: Vec<KeyStatus> = roles
        .into_iter()
        .map(|(id, roles)| KeyStatus { name: text(&id, "name"), holder: text(&id, "holder"), id, roles })
        .collect();
    keys.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    keys
}

/// Whose keys are whose, as a field of the targets role.
pub(super) fn holders(
    keys: &Keyring,
    public: &BTreeMap<String, PublicKey>,
    holders: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, ReleaseError> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    let mut said = serde_json::Map::new();
    for name in ROLES.iter().flat_map(|r| r.keys).collect::<BTreeSet<_>>() {
        let key = keys.get(name).map(|k| k.public_key()).or_else(|| public.get(*name));
        let id = tuf::key_id(key.ok_or_else(|| KeyError::Missing((*name).into()))?)?;
        // What takes two keys takes two people.
        if let Some(other) = known.insert(id.clone(), name) {
            return Err(ReleaseError::KeyInUse { key: (*name).into(), by: format!("it is that of `{other}`") });
        }
        said.insert(id, holder(name, holders.get(*name).map_or("", String::as_str)));
    }
    Ok(BTreeMap::from([(HOLDERS.to_owned(), Value::Object(said))]))
}

/// Refuses a key in the place of another where fewer people could do by it what takes several: a role that has it already, or both
/// channels.
fn check_new(new: &NewKey, known: &[KeyStatus], old: &KeyStatus, role: Option<&str>) -> Result<(), ReleaseError> {
    let id = tuf::key_id(&new.public)?;
    let Some(listed) = known.iter().find(|k| k.id == id) else { return Ok(()) };
    let in_use = |by: String| ReleaseError::KeyInUse { key: new.name.clone(), by };
    let taken: Vec<&String> = old.roles.iter().filter(|r| role.is_none_or(|role| role == *r)).collect();
    if let Some(role) = taken.iter().find(|r| listed.roles.contains(r)) {
        return Err(in_use(format!("the role `{role}` lists it as `{}`", listed.name)));
    }
    let speaks = |channel: &str| taken.iter().copied().chain(&listed.roles).any(|r| r == channel);
    if CHANNELS.iter().all(|channel| speaks(channel)) {
        return Err(in_use(format!("it would speak for both {}", CHANNELS.join(" and "))));
    }
    Ok(())
}

impl Repository {
    /// Makes a repository for production: no trial. Keys lie in a folder: `<name>.pem` (or `<name>.key`) private ones, of every role
    /// as many as its threshold, which `secrets` open; `<name>.pub.pem` the public halves of the others. With `draw`, those that
    /// are not there are drawn.
    pub fn create(
        store: Box<dyn Store>,
        (keys, draw): (&Path, bool),
        secrets: &dyn Secrets,
        people: &BTreeMap<String, String>,
        now: SystemTime,
    ) -> Result<Self, ReleaseError> {
        // Before any key is drawn: those of a repository that is there are others.
        let source = store.source();
        match Client::load_own_from(source, None, false) {
            Ok(client) => return Err(TufError::Exists { folder: client.folder().into() }.into()),
            Err(TufError::NotFound { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        let mut public = BTreeMap::new();
        let (mut private, mut missing) = (Vec::new(), Vec::new());
        for (name, found) in keys_at_hand(keys, people)? {
            match found {
                AtHand::Private => private.push(name),
                AtHand::Public => {
                    public.insert(name.to_owned(), PublicKey::read(&keys.join(public_file(name)))?);
                }
                AtHand::Nothing if draw => private.push(name),
                AtHand::Nothing => missing.push(name),
            }
        }
        if !missing.is_empty() {
            return Err(KeyError::Missing(missing.join("`, `")).into());
        }
        let open = if draw { Keyring::open_or_draw } else { Keyring::open_folder };
        let ring = open(keys, &private, secrets)?;
        let notes = holders(&ring, &public, people)?;
        let marks = BTreeMap::new();
        let creation = Creation { roles: ROLES, keys: &ring, public: &public, marks: &marks, notes: &notes };
        tuf::create(store.as_ref(), &creation, now)?;
        Ok(Self { made: true, ..Self::with_store(store, ring)? })
    }

    /// The same in a folder, with keys that need no secret.
    pub fn create_in(
        folder: &Path,
        keys: &Path,
        draw: bool,
        people: &BTreeMap<String, String>,
        now: SystemTime,
    ) -> Result<Self, ReleaseError> {
        Self::create(Box::new(FolderStore::new(folder)), (keys, draw), &NoSecrets, people, now)
    }

    /// Puts another key in the place of one (by name or id), or takes it away, in one role or in all; the roles that changed. What
    /// the old key signed is signed anew. It takes the keys of the targets role, and for a role of the top those of the root; what
    /// clients hold of the first root leads them on.
    pub fn replace_key(
        mut self,
        old: &str,
        new: Option<NewKey>,
        role: Option<&str>,
        now: SystemTime,
    ) -> Result<Vec<String>, ReleaseError> {
        let mut new = new;
        if let Some(key) = &mut new
            && let Some(private) = key.private.take()
        {
            self.keys.insert(format!("{}-new", key.name), Box::new(private));
        }
        self.noting(now, || self.put_key(old, new.as_ref(), role, now))
    }

    fn put_key(
        &self,
        old: &str,
        new: Option<&NewKey>,
        role: Option<&str>,
        now: SystemTime,
    ) -> Result<Vec<String>, ReleaseError> {
        let mut editor = Editor::open(self.store.as_ref(), ROLES)?;
        let known = keys_of(editor.client());
        let found: Vec<&KeyStatus> =
            known.iter().filter(|k| k.name == old || (old.len() >= 8 && k.id.starts_with(old))).collect();
        let [found] = found.as_slice() else {
            return Err(TufError::UnknownKey { id: old.chars().take(80).collect(), role: None }.into());
        };
        if let Some(new) = new {
            check_new(new, &known, found, role)?;
        }
        let roles = editor.replace_key(&found.id, new.map(|k| &k.public), role)?;
        let mut note = editor.client().note(HOLDERS).cloned().unwrap_or_else(|| json!({}));
        if let (Some(note), Some(new)) = (note.as_object_mut(), new) {
            note.insert(tuf::key_id(&new.public)?, holder(&new.name, &new.holder));
        }
        editor.set_note(HOLDERS, note)?;
        let event = match new {
            Some(new) => {
                let id = tuf::key_id(&new.public)?;
                let what =
                    format!("{} ({}) is replaced by {} ({id}) in {}", found.name, found.id, new.name, roles.join(", "));
                Event::new(AuditAction::RotateKey, what)
            }
            None => {
                let what = format!("{} ({}) is revoked in {}", found.name, found.id, roles.join(", "));
                Event::new(AuditAction::RevokeKey, what)
            }
        };
        audit::append(&mut editor, &[event], &self.actor, &self.keys, now)?;
        editor.commit(&self.keys, now)?;
        Ok(roles)
    }
}
