//! Metrics of scores: the area under the ROC curve, and whether a class is among the first.

use crate::{
    Scale,
    estimate::{Estimate, Tail, Term},
};

/// Whether the label is among the `k` highest scores; of equal scores the earlier class stands first.
pub fn in_top(row: &[f64], label: usize, k: usize) -> bool {
    let better = row.iter().enumerate().filter(|&(i, &v)| v > row[label] || (v == row[label] && i < label));
    better.count() < k
}

/// The area under the ROC curve with mean ranks for ties (Mann and Whitney 1947); the influences are the structural components of
/// DeLong, DeLong and Clarke-Pearson 1988, found by ranks (Sun and Xu 2014). `None` where one class is missing.
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<Estimate> {
    let (value, influences) = components(scores, positive)?;
    let n = positive.iter().filter(|p| **p).count();
    let of_side = [positive.len() - n, n];
    let term = |((&positive, influence), sample): ((&bool, f64), u32)| {
        let side = usize::from(positive);
        Term { sample, part: side as u32, influence, weight: 1.0 / of_side[side] as f64 }
    };
    let terms = positive.iter().zip(influences).zip(0..).map(term).collect();
    Some(Estimate::new(value, Scale::Logit, Tail::Heavy, scores.len(), terms))
}

/// The mean over the classes of the area under the curve of one against all others, as scikit-learn's
/// `roc_auc_score(multi_class="ovr")`. `column` gives the scores of a class; they should be probabilities: logits of different
/// samples do not compare. `None` where a class does not occur.
pub fn auc_one_vs_rest(column: impl Fn(usize) -> Vec<f64>, labels: &[usize], classes: usize) -> Option<Estimate> {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&l| counts[l] += 1);
    let mut total = 0.0;
    let mut influences = vec![0.0; labels.len()];
    for class in 0..classes {
        let positive: Vec<bool> = labels.iter().map(|&l| l == class).collect();
        let (value, of_class) = components(&column(class), &positive)?;
        total += value / classes as f64;
        influences.iter_mut().zip(of_class).for_each(|(sum, i)| *sum += i / classes as f64);
    }
    let term = |((&label, influence), sample): ((&usize, f64), u32)| {
        let weight = 1.0 / (classes * counts[label]) as f64;
        Term { sample, part: label as u32, influence, weight }
    };
    let terms = labels.iter().zip(influences).zip(0..).map(term).collect();
    Some(Estimate::new(total, Scale::Logit, Tail::Heavy, labels.len(), terms))
}

/// The area, and of each sample its influence on it: the share of the other side that stands right of it, less the area.
fn components(scores: &[f64], positive: &[bool]) -> Option<(f64, Vec<f64>)> {
    // Minus zero equals zero, but sorts apart.
    let all: Vec<(f64, usize)> = scores.iter().map(|s| s + 0.0).zip(0..).collect();
    let (of_positive, of_negative): (Vec<_>, Vec<_>) = all.iter().partition(|(_, i)| positive[*i]);
    let (m, n) = (of_positive.len() as f64, of_negative.len() as f64);
    if of_positive.is_empty() || of_negative.is_empty() {
        return None;
    }
    let overall = ranks(&all, scores.len());
    let inner = [ranks(&of_negative, scores.len()), ranks(&of_positive, scores.len())];
    let sum: f64 = of_positive.iter().map(|(_, i)| overall[*i]).sum();
    let area = (sum - m * (m + 1.0) / 2.0) / (m * n);
    let influence = |(i, &positive): (usize, &bool)| {
        if positive {
            ((overall[i] - inner[1][i]) / n - area) / m
        } else {
            (1.0 - (overall[i] - inner[0][i]) / m - area) / n
        }
    };
    Some((area, positive.iter().enumerate().map(influence).collect()))
}

/// Mean ranks from 1, at the positions of the values; 0 elsewhere.
fn ranks(values: &[(f64, usize)], len: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = vec![0.0; len];
    let mut before = 0;
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let rank = before as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|(_, i)| ranks[*i] = rank);
        before += same.len();
    }
    ranks
}
