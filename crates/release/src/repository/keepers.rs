//! Who keeps a repository: its making for production, and other keys for its roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::SystemTime,
};

use plimsoll_record::{AuditAction, KeyStatus};
use plimsoll_trust::{
    FileKey, KeyError, Keyring, PublicKey,
    tuf::{self, Client, Creation, Editor, FolderStore, Store, TufError},
};
use serde_json::{Value, json};

use super::Repository;
use crate::{
    ReleaseError,
    audit::{self, Event},
    roles::{ROLES, key_names},
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
    /// From a PEM file of either half.
    pub fn read(path: &Path, holder: &str) -> Result<Self, ReleaseError> {
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let (name, holder) = (name.trim_end_matches(".pub").to_owned(), holder.to_owned());
        match FileKey::read(path) {
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
    let mut known = serde_json::Map::new();
    for name in ROLES.iter().flat_map(|r| r.keys).collect::<BTreeSet<_>>() {
        let key = keys.get(name).map(|k| k.public_key()).or_else(|| public.get(*name));
        let key = key.ok_or_else(|| KeyError::Missing((*name).into()))?;
        let who = holders.get(*name).map_or("", String::as_str);
        known.insert(tuf::key_id(key)?, holder(name, who));
    }
    Ok(BTreeMap::from([(HOLDERS.to_owned(), Value::Object(known))]))
}

impl Repository {
    /// Makes a repository for production: no trial. Keys lie in a folder: `<name>.pem` private ones, of every role as many as its
    /// threshold; `<name>.pub.pem` the public halves of the others. With `draw`, those that are not there are drawn.
    pub fn create(
        store: Box<dyn Store>,
        keys: &Path,
        draw: bool,
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
        let names = key_names();
        let mut public = BTreeMap::new();
        let mut private = Vec::new();
        for name in names {
            let path = keys.join(format!("{name}.pub.pem"));
            if keys.join(format!("{name}.pem")).exists() || (draw && !path.exists()) {
                private.push(name);
            } else if path.exists() {
                public.insert(name.to_owned(), PublicKey::read(&path)?);
            } else {
                return Err(KeyError::Missing(name.into()).into());
            }
        }
        let ring = Keyring::of_folder(keys, &private, draw)?;
        let notes = holders(&ring, &public, people)?;
        let marks = BTreeMap::new();
        let creation = Creation { roles: ROLES, keys: &ring, public: &public, marks: &marks, notes: &notes };
        tuf::create(store.as_ref(), &creation, now)?;
        Ok(Self { made: true, ..Self::with_store(store, ring)? })
    }

    /// The same in a folder.
    pub fn create_in(
        folder: &Path,
        keys: &Path,
        draw: bool,
        people: &BTreeMap<String, String>,
        now: SystemTime,
    ) -> Result<Self, ReleaseError> {
        Self::create(Box::new(FolderStore::new(folder)), keys, draw, people, now)
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
        let mut editor = Editor::open(self.store.as_ref(), ROLES)?;
        let known = keys_of(editor.client());
        let found: Vec<&KeyStatus> =
            known.iter().filter(|k| k.name == old || (old.len() >= 8 && k.id.starts_with(old))).collect();
        let [found] = found.as_slice() else {
            return Err(TufError::UnknownKey { id: old.chars().take(80).collect() }.into());
        };
        let roles = editor.replace_key(&found.id, new.as_ref().map(|k| &k.public), role)?;
        let mut note = editor.client().note(HOLDERS).cloned().unwrap_or_else(|| json!({}));
        if let (Some(note), Some(new)) = (note.as_object_mut(), &new) {
            note.insert(tuf::key_id(&new.public)?, holder(&new.name, &new.holder));
        }
        editor.set_note(HOLDERS, note)?;
        let event = match &new {
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
