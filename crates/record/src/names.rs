//! Names that become file and target names, checked before they do: what a repository and its clients agree on.

/// Longest version; together with the name it must fit a file name with a digest before it.
const LONGEST_VERSION: usize = 64;

/// Whether it is a name that is safe as a file name, and as a part of one.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = name.bytes().next().is_some_and(plain);
    let rest = name.bytes().all(|b| plain(b) || b"-_.+".contains(&b));
    first && rest && name.len() <= 64 && !name.contains("..")
}

/// Whether it is a version of the form that semver allows.
pub fn is_version(version: &str) -> bool {
    let first = version.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let rest = version.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b));
    first && rest && version.len() <= LONGEST_VERSION && !version.contains("..")
}

/// Whether it is a SHA-256 in lower-case hex.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `+` means a space to some servers.
fn flat(text: &str) -> String {
    text.replace('+', "_")
}

/// Folder name of a release.
pub fn folder_name(name: &str, version: &str) -> String {
    format!("{}-{}", flat(name), flat(version))
}

/// Target name of a release's manifest.
pub fn manifest_target(name: &str, version: &str) -> String {
    format!("release.{}.{}.json", flat(name), flat(version))
}

/// Target name of a channel's pointer.
pub fn pointer_target(channel: &str) -> String {
    format!("channel.{channel}.json")
}

/// Target name of a channel's halt.
pub fn halt_target(channel: &str) -> String {
    format!("halt.{channel}.json")
}

/// Where a repository keeps content, by its digest.
pub fn blob(sha256: &str) -> String {
    format!("blobs/sha256/{sha256}")
}

/// Whether it is a path below a release folder that leads nowhere else, on any system.
pub fn is_safe_path(path: &str) -> bool {
    path.len() <= 300 && path.split('/').all(is_safe_part)
}

fn is_safe_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    !part.is_empty() && part.len() <= 180 && !part.starts_with('.') && !part.ends_with('.') && part.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether name, version and path are taken.
    fn check(name: &str, version: &str, path: &str) -> [bool; 3] {
        [is_name(name), is_version(version), is_safe_path(path)]
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
