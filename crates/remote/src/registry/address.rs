//! Where a release lies: `oci://host[:port]/repository[:tag][@sha256:…]`.

use std::fmt;

use oci_client::Reference;

use super::RegistryError;
use crate::host::is_loopback;

/// The address of a release in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Reference);

impl Address {
    /// Reads an address. The registry is always named: what stands for it elsewhere when it is left out is nobody's to guess.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let refused = |reason: &str| RegistryError::Address { address: text.into(), reason: reason.into() };
        let rest = text.strip_prefix("oci://").ok_or_else(|| refused("it does not begin with `oci://`"))?;
        let (host, _) = rest.split_once('/').ok_or_else(|| refused("it names no repository"))?;
        if host.contains('@') {
            return Err(refused("a user stands in it; credentials come by the environment"));
        }
        if host != "localhost" && !host.contains(['.', ':']) {
            return Err(refused("it names no registry"));
        }
        let reference: Reference = rest.parse().map_err(|e| refused(&format!("{e}")))?;
        if reference.registry() != host {
            return Err(refused("the registry cannot be told from the repository"));
        }
        Ok(Self(reference))
    }

    /// The registry is on this machine, and is spoken to without TLS; no other is.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.0.registry())
    }

    /// The digest that pins it, where there is one.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.0
    }

    /// Something else in the same repository, by digest.
    pub(super) fn at_digest(&self, digest: &str) -> Reference {
        Reference::with_digest(self.0.registry().into(), self.0.repository().into(), digest.into())
    }

    /// Something else in the same repository, by tag.
    pub(super) fn at_tag(&self, tag: &str) -> Reference {
        Reference::with_tag(self.0.registry().into(), self.0.repository().into(), tag.into())
    }

    /// The same repository, pinned to a digest.
    pub(super) fn pinned(&self, digest: &str) -> Self {
        Self(self.at_digest(digest))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}", self.0.whole())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Address, String> {
        Address::parse(text).map_err(|e| e.to_string())
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for (text, loopback) in [
            ("oci://localhost/a:1", true),
            ("oci://127.0.0.1:5000/a/b:1.0.0", true),
            ("oci://registry.example/a:1", false),
            ("oci://localhost.example:5000/a:1", false),
            ("oci://127.0.0.1.example/a:1", false),
            ("oci://10.0.0.1:5000/a:1", false),
        ] {
            let address = check(text).unwrap();
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn addresses_that_leave_something_to_guess_are_refused() {
        for (text, says) in [
            ("registry.example/a:1", "`oci://`"),
            ("oci://registry.example", "no repository"),
            ("oci://a/b:1", "no registry"),
            ("oci://user:word@registry.example/a:1", "a user stands in it"),
            ("oci://registry.example/A:1", "reference format"),
            ("oci://registry.example/a@sha256:12", "reference format"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
