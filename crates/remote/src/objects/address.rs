//! Where a repository, or telemetry, lies: `s3://bucket[/prefix]`, `https://host[:port][/path]`, and `http://` on this machine.

use std::env;

use crate::host::is_loopback;

/// What an address begins with.
const SCHEMES: [&str; 3] = ["s3://", "https://", "http://"];
/// Where the environment names the store, the first one first.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` is no address to use: {reason}")]
pub struct AddressError {
    /// As given.
    pub address: String,
    /// Why.
    pub reason: String,
    /// What the user can do about it.
    pub help: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Bucket {
        bucket: String,
        /// Empty, or ending with `/`.
        prefix: String,
    },
    Server {
        url: String,
        loopback: bool,
    },
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let refused = |reason: &str, help| AddressError { address: shown(text), reason: reason.into(), help };
        let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme));
        let Some(scheme) = scheme else {
            return Err(refused("it begins with none of `s3://`, `https://`", "give one of these, or a folder"));
        };
        let rest = text.get(scheme.len()..).unwrap_or_default().trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(refused("a user stands in it", "credentials come by the environment"));
        }
        if host.is_empty() {
            return Err(refused("it names no host", "write s3://BUCKET/PREFIX or https://HOST/PATH"));
        }
        if text.contains(['?', '#', '\\']) || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("it is more than a place", "write s3://BUCKET/PREFIX or https://HOST/PATH"));
        }
        if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refused("its path leads elsewhere", "write the path without `.`, `..` and empty parts"));
        }
        match *scheme {
            "s3://" => {
                let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                Ok(Self::Bucket { bucket: host.into(), prefix })
            }
            "http://" if !is_loopback(host) => {
                Err(refused("only this machine is spoken to without TLS", "use https://"))
            }
            scheme => Ok(Self::Server { url: format!("{scheme}{rest}"), loopback: scheme == "http://" }),
        }
    }
}

/// An address without what may be a password in it.
fn shown(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}…{}", text.get(..scheme + 3).unwrap_or_default(), text.get(at..).unwrap_or_default())
        }
        _ => text.into(),
    }
}

/// The environment names a store on this machine.
pub(super) fn endpoint_is_loopback() -> bool {
    let endpoint = ENDPOINTS.iter().find_map(|name| env::var(name).ok());
    let host = endpoint.as_deref().and_then(|e| e.strip_prefix("http://"));
    host.is_some_and(|host| is_loopback(host.split('/').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_meant() {
        let bucket = |bucket: &str, prefix: &str| Address::Bucket { bucket: bucket.into(), prefix: prefix.into() };
        let server = |url: &str, loopback| Address::Server { url: url.into(), loopback };
        for (text, expected) in [
            ("s3://models", bucket("models", "")),
            ("s3://models/sleep/wake/", bucket("models", "sleep/wake/")),
            ("https://releases.example/sleep-wake/", server("https://releases.example/sleep-wake", false)),
            ("http://127.0.0.1:8000", server("http://127.0.0.1:8000", true)),
        ] {
            assert_eq!(Address::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn addresses_that_leave_something_to_guess_are_refused() {
        for (text, says) in [
            ("http://releases.example/a", "without TLS"),
            ("http://localhost.example/a", "without TLS"),
            ("ftp://a/b", "none of"),
            ("s3://", "no host"),
            ("s3://a/../b", "leads elsewhere"),
            ("s3://a//b", "leads elsewhere"),
            ("https://a/b?c", "more than a place"),
            ("https://a b/", "more than a place"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = Address::parse("https://user:word@releases.example/a").unwrap_err().to_string();
        assert!(error.contains("a user stands in it") && !error.contains("word"), "{error}");
    }
}
