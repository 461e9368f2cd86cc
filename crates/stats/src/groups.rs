//! Which samples belong together: those of one night, of one patient, are not independent.

use std::collections::BTreeMap;

/// The group of each sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    names: Vec<i64>,
    of: Vec<u32>,
}

impl Groups {
    /// From the name of each sample's group.
    pub fn new(names: &[i64]) -> Self {
        let mut numbers: BTreeMap<i64, u32> = names.iter().map(|n| (*n, 0)).collect();
        numbers.values_mut().zip(0..).for_each(|(number, i)| *number = i);
        Self { of: names.iter().map(|n| numbers[n]).collect(), names: numbers.into_keys().collect() }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none, because there are no samples.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of a sample's group.
    pub fn of(&self, sample: usize) -> u32 {
        self.of[sample]
    }

    /// The name of each group and the positions of its samples, in the order of the names.
    pub fn members(&self) -> Vec<(i64, Vec<usize>)> {
        let mut members: Vec<(i64, Vec<usize>)> = self.names.iter().map(|n| (*n, Vec::new())).collect();
        self.of.iter().enumerate().for_each(|(sample, g)| members[*g as usize].1.push(sample));
        members
    }
}
