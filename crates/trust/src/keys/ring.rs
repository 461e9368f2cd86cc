//! Keys by the names that roles call them by, and the folder that they lie in.

use std::{collections::BTreeMap, fmt, io, path::Path};

use super::{FileKey, KeyError, KeySource, LIMIT, NoSecrets, Secrets, open_key};
use crate::{atomic, read_bounded};

/// Keys by the names that roles call them by.
#[derive(Default)]
pub struct Keyring {
    keys: BTreeMap<String, Box<dyn KeySource>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.iter().map(|(name, key)| (name, key.public_key().id()))).finish()
    }
}

impl Keyring {
    /// Keys of a folder, `<name>.pem` each; with `create`, those that are not there are drawn.
    pub fn of_folder(folder: &Path, names: &[&str], create: bool) -> Result<Self, KeyError> {
        if !create {
            return Self::open_folder(folder, names, &NoSecrets);
        }
        make_private_folder(folder).map_err(|source| KeyError::Write { path: folder.into(), source })?;
        let mut ring = Self::default();
        for name in names {
            ring.insert(*name, Box::new(FileKey::read_or_create(&folder.join(format!("{name}.pem")))?));
        }
        Ok(ring)
    }

    /// Keys of a folder that nothing is added to: `<name>.pem`, plain or encrypted, or `<name>.key`, whose one line names the key
    /// as [`open_key`] takes it: a `pkcs11:` URI, or the path of a file.
    pub fn open_folder(folder: &Path, names: &[&str], secrets: &dyn Secrets) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        for name in names {
            let [file, elsewhere] = ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
            let key: Box<dyn KeySource> = match (file.exists(), elsewhere.exists()) {
                (true, true) => return Err(KeyError::Twice { folder: folder.into(), name: (*name).into() }),
                (false, true) => {
                    let named = read_bounded(&elsewhere, LIMIT)?;
                    let named = String::from_utf8(named).map_err(|_| KeyError::NotPrivate { path: elsewhere })?;
                    open_key(named.trim(), secrets)?
                }
                (_, false) => Box::new(FileKey::read_with(&file, secrets)?),
            };
            ring.insert(*name, key);
        }
        Ok(ring)
    }

    /// Adds a key.
    pub fn insert(&mut self, name: impl Into<String>, key: Box<dyn KeySource>) {
        self.keys.insert(name.into(), key);
    }

    /// Takes a key away.
    pub fn remove(&mut self, name: &str) {
        self.keys.remove(name);
    }

    /// The key of a name.
    pub fn get(&self, name: &str) -> Option<&dyn KeySource> {
        self.keys.get(name).map(AsRef::as_ref)
    }

    /// The key of a name, or an error that says which one is missing.
    pub fn require(&self, name: &str) -> Result<&dyn KeySource, KeyError> {
        self.get(name).ok_or_else(|| KeyError::Missing(name.into()))
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn KeySource)> {
        self.keys.iter().map(|(name, key)| (name.as_str(), key.as_ref()))
    }
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        atomic::create_folders(above)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}
