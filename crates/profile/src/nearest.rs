//! The word that was probably meant.

/// The known word nearest to what was written, where one is near enough to be meant.
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer is no slip of the pen, and distances cost time.
    if written.chars().count() > 64 {
        return None;
    }
    let normal = |s: &str| s.to_lowercase().replace(['_', ' ', '.'], "-");
    let written = normal(written);
    let slack = |word: &str| (word.chars().count().max(written.chars().count()) / 3).max(1);
    known
        .into_iter()
        .map(|word| (distance(&written, &normal(word)), word))
        .filter(|(d, word)| *d <= slack(word))
        .min_by_key(|(d, _)| *d)
        .map(|(_, word)| word)
}

/// Edits (insert, remove, replace, swap of neighbours) that lead from one word to another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut before: Option<char> = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        let mut left_of_y: Option<char> = None;
        for (j, &y) in b.iter().enumerate() {
            let get = |v: &[usize], at: usize| v.get(at).copied().unwrap_or(usize::MAX / 2);
            let replaced = get(&above, j) + usize::from(x != y);
            let mut best = replaced.min(get(&above, j + 1) + 1).min(get(&row, j) + 1);
            if j > 0 && before == Some(y) && left_of_y == Some(x) {
                best = best.min(get(&older, j - 1) + 1);
            }
            row.push(best);
            left_of_y = Some(y);
        }
        older = std::mem::replace(&mut above, row);
        before = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: Option<&str>) {
        assert_eq!(nearest(written, ["artifact-size", "latency.p50", "latency.p99", "macs", "kind"]), expected);
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        check("artefact-size", Some("artifact-size"));
        check("artifact_size", Some("artifact-size"));
        check("latency-p99", Some("latency.p99"));
        check("mcas", Some("macs"));
        check("Kind", Some("kind"));
        check("temperature", None);
        check(&"k".repeat(10_000), None);
    }

    #[test]
    fn swapped_neighbours_are_one_edit() {
        assert_eq!(distance("macs", "mcas"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
