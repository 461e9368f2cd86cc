//! Evidence on the command line: figures that are written signed, and figures that are taken over.

use std::path::{Path, PathBuf};

use clap::Args;
use plimsoll_record::Figures;
use plimsoll_release::{SignedFigures, read_evidence, sign_figures};
use plimsoll_trust::{KeySource, PublicKey};

use crate::{
    failure::Failure,
    secrets, ui,
    world::{self, check_output},
};

/// Where figures go besides stdout, and who vouches for them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Record {
    /// Write the figures to a file as well: as evidence with --sign, else as the document that --json prints
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign them with this private key, so that `check --evidence FILE` takes them over: ECDSA P-256 in PKCS#8 PEM, which its owner
    /// alone may read, or a `pkcs11:` URI. A passphrase or PIN comes by PLIMSOLL_PASSPHRASE, PLIMSOLL_PIN, or a prompt
    #[arg(long, value_name = "KEY", requires = "output")]
    sign: Option<String>,
}

impl Record {
    /// Looks at the key and the place before anything is measured.
    pub(crate) fn ready<'r>(&'r self, inputs: &[Option<&Path>]) -> Result<Recorder<'r>, Failure> {
        let key = self.sign.as_deref().map(secrets::key).transpose()?;
        if let Some(path) = &self.output {
            let inputs: Vec<&Path> =
                inputs.iter().copied().flatten().chain(self.sign.as_deref().map(Path::new)).collect();
            check_output(path, &inputs)?;
        }
        Ok(Recorder { output: self.output.as_deref(), key })
    }
}

/// Writes what has been measured.
pub(crate) struct Recorder<'r> {
    output: Option<&'r Path>,
    key: Option<Box<dyn KeySource>>,
}

impl Recorder<'_> {
    /// Writes the figures, where that was asked for.
    pub(crate) fn write(&self, figures: &Figures) -> Result<(), Failure> {
        let Some(path) = self.output else { return Ok(()) };
        let Some(key) = &self.key else { return world::write(path, world::json(figures)?.as_bytes()) };
        world::write(path, &sign_figures(figures, key.as_ref())?)?;
        ui::say(&format!("wrote {}, signed by the key {}", path.display(), key.public_key().id()));
        Ok(())
    }
}

/// Figures to take over.
#[derive(Debug, Args)]
pub(crate) struct Evidence {
    /// Signed figures of `bench` or `evaluate` (-o FILE --sign KEY), taken over instead of measuring again. Figures of another
    /// model, other data or another baseline are refused; of several for one budget the first that may settle it counts. May be
    /// given more than once
    #[arg(long = "evidence", value_name = "FILE", conflicts_with = "cost_only")]
    files: Vec<PathBuf>,
    /// Public key that evidence must be signed with, in PEM; no key is trusted unasked. May be given more than once: any of them
    /// will do
    #[arg(long = "evidence-key", value_name = "PEM", requires = "files")]
    keys: Vec<PathBuf>,
}

impl Evidence {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads and verifies it.
    pub(crate) fn read(&self) -> Result<Vec<SignedFigures>, Failure> {
        let keys = self.keys.iter().map(|k| Ok(PublicKey::read(k)?)).collect::<Result<Vec<_>, Failure>>()?;
        self.files.iter().map(|f| Ok(read_evidence(f, &keys)?)).collect()
    }
}
