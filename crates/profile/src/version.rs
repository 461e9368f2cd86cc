//! Versions of releases, as semver 2.0 writes them.

use std::fmt;

use crate::reader::{FromToml, Value, Wrong};

/// `MAJOR.MINOR.PATCH`, with a pre-release and build metadata where they are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Major, minor, patch.
    pub numbers: [u64; 3],
    /// What follows `-`; empty for a final version.
    pub pre: String,
    /// What follows `+`.
    pub build: String,
}

impl Version {
    /// Reads a version; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 128 {
            return None;
        }
        let (rest, build) = text.split_once('+').map_or((text, None), |(a, b)| (a, Some(b)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(a, b)| (a, Some(b)));
        let numbers: Vec<Option<u64>> = core.split('.').map(number).collect();
        let &[Some(major), Some(minor), Some(patch)] = numbers.as_slice() else { return None };
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let padded = |w: &str| w.len() > 1 && w.starts_with('0') && w.bytes().all(|b| b.is_ascii_digit());
        if pre.is_some_and(|p| !p.split('.').all(|w| word(w) && !padded(w)))
            || build.is_some_and(|b| !b.split('.').all(word))
        {
            return None;
        }
        Some(Self {
            numbers: [major, minor, patch],
            pre: pre.unwrap_or_default().into(),
            build: build.unwrap_or_default().into(),
        })
    }
}

fn number(text: &str) -> Option<u64> {
    let plain =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

impl FromToml for Version {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("this is no version", "write MAJOR.MINOR.PATCH, such as \"1.4.0\" or \"1.4.0-rc.1\"");
        value.as_str().and_then(Self::parse).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    fn check(text: &str, valid: bool) {
        let version = Version::parse(text);
        assert_eq!(version.is_some(), valid, "{text}");
        if let Some(version) = version {
            assert_eq!(version.to_string(), text);
        }
    }

    #[test]
    fn versions_that_sort_or_name_files_oddly_are_refused() {
        for valid in ["0.1.0", "1.4.0-rc.1", "1.0.0+build.05", "1.0.0-x-y.7+a-b", "1.0.0-0"] {
            check(valid, true);
        }
        for invalid in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.03",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "v1.2.3",
            "1.2.+3",
            "1.2.3-../x",
            "1.2.99999999999999999999",
        ] {
            check(invalid, false);
        }
    }
}
