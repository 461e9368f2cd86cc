//! Keys by the names that roles call them by, and the folder that they lie in.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

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
    /// Keys of a folder that need no secret; with `create`, those that are not there are drawn.
    pub fn of_folder(folder: &Path, names: &[&str], create: bool) -> Result<Self, KeyError> {
        let of = if create { Self::open_or_draw } else { Self::open_folder };
        of(folder, names, &NoSecrets)
    }

    /// Keys of a folder that nothing is added to: `<name>.pem`, plain or encrypted, or `<name>.key`, whose one line names the key
    /// as [`open_key`] takes it: a `pkcs11:` URI, or the path of a file.
    pub fn open_folder(folder: &Path, names: &[&str], secrets: &dyn Secrets) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        for name in names {
            ring.insert(*name, open_named(folder, name, secrets)?);
        }
        Ok(ring)
    }

    /// As [`Keyring::open_folder`], and those that are not there are drawn, `<name>.pem` each.
    pub fn open_or_draw(folder: &Path, names: &[&str], secrets: &dyn Secrets) -> Result<Self, KeyError> {
        make_private_folder(folder).map_err(|source| KeyError::Write { path: folder.into(), source })?;
        let mut ring = Self::default();
        for name in names {
            let key = match Self::holds(folder, name) {
                true => open_named(folder, name, secrets)?,
                false => Box::new(FileKey::read_or_create(&folder.join(format!("{name}.pem")))?),
            };
            ring.insert(*name, key);
        }
        Ok(ring)
    }

    /// Whether a folder has the private key of a name, or says where it is.
    pub fn holds(folder: &Path, name: &str) -> bool {
        places(folder, name).iter().any(|place| place.exists())
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

/// Where the key of a name lies: a file, and a file that says where.
fn places(folder: &Path, name: &str) -> [PathBuf; 2] {
    ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")))
}

fn open_named(folder: &Path, name: &str, secrets: &dyn Secrets) -> Result<Box<dyn KeySource>, KeyError> {
    let [file, elsewhere] = places(folder, name);
    match (file.exists(), elsewhere.exists()) {
        (true, true) => Err(KeyError::Twice { folder: folder.into(), name: name.into() }),
        (false, true) => {
            let named = read_bounded(&elsewhere, LIMIT)?;
            let named = String::from_utf8(named).map_err(|_| KeyError::NotPrivate { path: elsewhere })?;
            open_key(named.trim(), secrets)
        }
        (_, false) => Ok(Box::new(FileKey::read_with(&file, secrets)?)),
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
