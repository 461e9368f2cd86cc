//! Arguments of the verbs that make releases and look at them.

use std::path::PathBuf;

use clap::Args;

use super::values::{digest, span};

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The release spec [default: plimsoll.toml here, else the shipped fixtures/sleep-wake/plimsoll.toml]
    pub(crate) spec: Option<PathBuf>,
    /// Folder for keys, releases and repositories [default: .plimsoll]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How long the search may take, such as 90s or 5m; it ends earlier where nothing is left to try
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = span)]
    pub(crate) budget: f64,
    /// Do everything but write the release, change the repository and push
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Sign with this key instead of trial keys: ECDSA P-256 in PKCS#8 PEM, plain or encrypted, which its owner alone may read, or a
    /// `pkcs11:` URI. A passphrase or PIN comes by PLIMSOLL_PASSPHRASE, PLIMSOLL_PIN, or a prompt. The release is then no trial,
    /// and is put into no channel
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// With --key: digest of the release that this one replaces and falls back to
    #[arg(long, value_name = "DIGEST", requires = "key", value_parser = digest)]
    pub(crate) parent: Option<String>,
    /// Push the release to a registry, such as oci://registry.example/sleep-wake:1.4.0, as a ModelPack artifact with its signature;
    /// credentials come by PLIMSOLL_REGISTRY_USER and PLIMSOLL_REGISTRY_PASSWORD
    #[arg(long, value_name = "OCI")]
    pub(crate) push: Option<String>,
    /// Write a dossier of the release, in Markdown: the trace from requirements and risks to gates and evidence, known anomalies,
    /// dependencies; to stdout without =FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) dossier: Option<Option<PathBuf>>,
    /// Make no new release; push this folder, or write its dossier
    #[arg(long, value_name = "DIR", conflicts_with_all = ["spec", "key"])]
    pub(crate) from: Option<PathBuf>,
    /// Make no new release; build the payload of this folder again from the spec and the recorded evidence, and say whether it is
    /// the same byte for byte. Ends with 98 and the first difference where it is not
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "push", "dossier", "from", "dry_run"])]
    pub(crate) reproduce: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A release folder, a repository (a folder, s3://BUCKET/PREFIX, https://HOST/PATH), or a release in a registry
    /// (oci://HOST/REPOSITORY:TAG)
    pub(crate) target: PathBuf,
    /// What is demanded besides, in TOML: gates that were passed, a commit, signers, coverage (docs/releasing.md)
    #[arg(long, value_name = "TOML")]
    pub(crate) policy: Option<PathBuf>,
    /// Public key that the release must be signed with [default: the one beside the release]
    #[arg(long, value_name = "PEM")]
    pub(crate) public_key: Option<PathBuf>,
    /// Trusted root metadata of the repository [default: its own first root]
    #[arg(long, value_name = "JSON")]
    pub(crate) root: Option<PathBuf>,
    /// Folder that remembers what was seen of the repository: an older state than that is refused
    #[arg(long, value_name = "DIR")]
    pub(crate) memory: Option<PathBuf>,
    /// Verify as a production client does: repositories marked `trial` are refused
    #[arg(long)]
    pub(crate) production: bool,
}

/// Which repository.
#[derive(Debug, Args)]
pub(crate) struct Repository {
    /// The release's name, where there are several repositories
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The repository: a folder, s3://BUCKET/PREFIX, or (to read) https://HOST/PATH [default: .plimsoll/repository/NAME]
    #[arg(long, value_name = "DIR|URL", conflicts_with = "name")]
    pub(crate) repository: Option<PathBuf>,
    /// Folder of the keys to sign with [default: the trial keys that were made with the repository]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
}
