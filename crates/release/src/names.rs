//! Names that become file and target names: checked before they do.

use plimsoll_trust::tuf::is_flat_name;

use crate::ReleaseError;

/// Longest version; together with the name it must fit a file name with a digest before it.
const LONGEST_VERSION: usize = 64;

/// A name that is safe as a file name, and as a part of one.
pub(crate) fn check_name(name: &str) -> Result<(), ReleaseError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(plain);
    let rest = name.bytes().all(|b| plain(b) || b"-_.+".contains(&b));
    if first && rest && name.len() <= 64 && !name.contains("..") {
        return Ok(());
    }
    Err(ReleaseError::Name { what: "name", value: name.chars().take(80).collect() })
}

/// A version of the form that semver allows.
pub(crate) fn check_version(version: &str) -> Result<(), ReleaseError> {
    let first = version.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let rest = version.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b));
    if first && rest && version.len() <= LONGEST_VERSION && !version.contains("..") {
        return Ok(());
    }
    Err(ReleaseError::Name { what: "version", value: version.chars().take(80).collect() })
}

/// `+` means a space to some servers.
fn flat(text: &str) -> String {
    text.replace('+', "_")
}

/// Folder name of a release.
pub(crate) fn folder_name(name: &str, version: &str) -> String {
    format!("{}-{}", flat(name), flat(version))
}

/// Target name of a release's manifest.
pub(crate) fn manifest_target(name: &str, version: &str) -> String {
    format!("release.{}.{}.json", flat(name), flat(version))
}

/// Target name of a channel's pointer.
pub(crate) fn pointer_target(channel: &str) -> String {
    format!("channel.{channel}.json")
}

/// Where the repository keeps content, by its digest.
pub(crate) fn blob(sha256: &str) -> String {
    format!("blobs/sha256/{sha256}")
}

/// A path below a release folder that leads nowhere else, on any system.
pub(crate) fn is_safe_path(path: &str) -> bool {
    path.len() <= 300 && path.split('/').all(is_safe_part)
}

fn is_safe_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    is_flat_name(&flat(part)) && part.bytes().all(plain) && !part.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether name, version and path are taken.
    fn check(name: &str, version: &str, path: &str) -> [bool; 3] {
        [check_name(name).is_ok(), check_version(version).is_ok(), is_safe_path(path)]
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(check("sleep-wake", "1.4.0-rc.1+b2", "payload/budgets/server-x86.toml"), [true; 3]);
        for bad in ["", ".", "..", "a/../b", "/a", "a//b", "a\\b", "a\0", "a b", "ä", "a/", "../a", "a/.b", "C:a", "a."]
        {
            let [name, version, path] = check(bad, bad, bad);
            assert!(!path, "`{bad}` is taken for a path");
            assert!(!version, "`{bad}` is taken for a version");
            assert!(!name || bad == "a.", "`{bad}` is taken for a name");
        }
        assert!(!is_safe_path(&"a/".repeat(200)));
    }
}
