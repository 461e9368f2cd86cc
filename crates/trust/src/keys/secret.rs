//! Passphrases and PINs: asked for when they are needed, held no longer, shown by nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use p256::elliptic_curve::zeroize::Zeroizing;

/// What opens a key. It is wiped from memory when it is dropped, and does not show in debug output.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a secret is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The passphrase of a key file.
    Passphrase(PathBuf),
    /// The user's PIN of a token, by the token's label.
    Pin(String),
}

impl Asked {
    /// What names the key: the file's name without its ending, or the label of the token.
    pub fn name(&self) -> String {
        match self {
            Self::Passphrase(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Pin(label) => label.clone(),
        }
    }

    /// The file of a key.
    pub(crate) fn passphrase(path: &Path) -> Self {
        Self::Passphrase(path.to_owned())
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(path) => write!(f, "passphrase of {}", path.display()),
            Self::Pin(label) => write!(f, "PIN of the token `{label}`"),
        }
    }
}

/// Where secrets come from: an environment, a prompt, a test.
pub trait Secrets {
    /// The secret, or nothing where there is none to be had.
    fn ask(&self, asked: &Asked) -> Option<Secret>;
}

/// There are none: only keys open that need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn ask(&self, _: &Asked) -> Option<Secret> {
        None
    }
}
