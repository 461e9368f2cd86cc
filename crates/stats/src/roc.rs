//! The receiver operating characteristic.

/// The area under the ROC curve with mean ranks for ties (Mann and Whitney), and DeLong's variance (DeLong et al. 1988).
/// `None` where one class is missing.
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<(f64, f64)> {
    let ranks = |values: &[(f64, usize)]| -> Vec<(usize, f64)> {
        let mut sorted = values.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut out = Vec::with_capacity(sorted.len());
        let mut start = 0;
        while start < sorted.len() {
            let same = sorted[start..].iter().take_while(|v| v.0 == sorted[start].0).count();
            let rank = start as f64 + (same + 1) as f64 / 2.0;
            out.extend(sorted[start..start + same].iter().map(|v| (v.1, rank)));
            start += same;
        }
        out.sort_unstable_by_key(|v| v.0);
        out
    };
    // Minus zero equals zero, but sorts apart.
    let all: Vec<(f64, usize)> = scores.iter().map(|s| s + 0.0).zip(0..).collect();
    let (pos, neg): (Vec<_>, Vec<_>) = all.iter().partition(|(_, i)| positive[*i]);
    let (m, n) = (pos.len() as f64, neg.len() as f64);
    if pos.is_empty() || neg.is_empty() {
        return None;
    }
    let overall = ranks(&all);
    let sum: f64 = pos.iter().map(|(_, i)| overall[*i].1).sum();
    let value = (sum - m * (m + 1.0) / 2.0) / (m * n);
    let placements = |of: &[(f64, usize)], others: f64| -> f64 {
        let values: Vec<f64> = ranks(of).iter().map(|(i, inner)| (overall[*i].1 - inner) / others).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        squares / (values.len().max(2) - 1) as f64 / values.len() as f64
    };
    Some((value, placements(&pos, n) + placements(&neg, m)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f64], labels: &[u8]) -> Option<f64> {
        auc(scores, &labels.iter().map(|&l| l == 1).collect::<Vec<_>>()).map(|a| a.0)
    }

    #[test]
    fn ties_count_half_and_one_class_has_no_auc() {
        assert_eq!(check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]), Some(0.75));
        assert_eq!(check(&[0.5, 0.5, 0.5, 0.5], &[0, 1, 0, 1]), Some(0.5));
        assert_eq!(check(&[-0.0, 0.0], &[0, 1]), Some(0.5));
        assert_eq!(check(&[0.1, 0.2], &[1, 1]), None);
    }
}
