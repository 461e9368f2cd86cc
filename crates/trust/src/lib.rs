//! Keys, signatures and trusted repositories: ECDSA P-256 keys, DSSE envelopes, OpenSSF Model Signing, The Update Framework.
//!
//! This crate must not know what is signed: models, releases and channels are bytes, folders and target names here. Keys,
//! the clock and the storage enter as values or traits. Everything that is read is hostile: it is bounded, and refused with an
//! error that names the file.

pub mod atomic;
pub mod disk;
pub mod dsse;
mod file_lock;
mod json;
mod keys;
pub mod oms;
mod read;
pub mod tuf;

pub use file_lock::FileLock;
pub use json::to_sorted_json;
#[cfg(feature = "pkcs11")]
pub use keys::TokenKey;
pub use keys::{Asked, FileKey, KeyError, KeySource, Keyring, NoSecrets, PublicKey, Secret, Secrets, open_key};
pub use read::{ReadError, base64, hex, is_address, open_regular, read_bounded, sha256_hex, sha256_of_file};
