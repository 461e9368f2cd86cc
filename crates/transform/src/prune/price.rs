//! What is left of a model's cost, by how many channels of each group go, without cutting the model: a polynomial of the second degree,
//! since the work of a layer goes with what it reads times what it makes. Worked out of models without one or two channels; whoever
//! uses it has to hold it against a model now and then. Knows costs, not scores.

use crate::Refusal;

/// A polynomial in Newton's form, in whole numbers.
pub(super) struct Price {
    none: i128,
    /// What one channel more of a group adds.
    one: Vec<i128>,
    /// What it adds to that of another group (a row a group, as long as its number), of its own at the end.
    two: Vec<Vec<i128>>,
}

impl Price {
    /// How many models have to be looked at.
    pub(super) fn models(groups: usize) -> usize {
        1 + 2 * groups + groups * groups.saturating_sub(1) / 2
    }

    /// `cost` is what is left when so many channels of each group go.
    pub(super) fn of(groups: usize, cost: impl Fn(&[usize]) -> Result<u64, Refusal>) -> Result<Self, Refusal> {
        let at = |gone: &[usize]| -> Result<i128, Refusal> {
            let mut counts = vec![0; groups];
            gone.iter().for_each(|&g| counts[g] += 1);
            Ok(cost(&counts)?.into())
        };
        let none = at(&[])?;
        let alone: Vec<i128> = (0..groups).map(|g| at(&[g])).collect::<Result<_, _>>()?;
        let both = |g: usize, h: usize| Ok(at(&[g, h])? - alone[g] - alone[h] + none);
        let row = |g: usize| (0..=g).map(|h| both(g, h)).collect::<Result<_, Refusal>>();
        let two = (0..groups).map(row).collect::<Result<_, _>>()?;
        Ok(Self { none, one: alone.iter().map(|a| a - none).collect(), two })
    }

    /// What is left when so many channels of each group go.
    pub(super) fn at(&self, counts: &[usize]) -> u64 {
        let counts: Vec<i128> = counts.iter().map(|&n| n as i128).collect();
        let mut sum = self.none;
        for (g, (n, (one, two))) in counts.iter().zip(self.one.iter().zip(&self.two)).enumerate() {
            let others: i128 = two[..g].iter().zip(&counts).map(|(d, m)| d * m).sum();
            sum += n * (one + others) + two[g] * (n * (n - 1) / 2);
        }
        sum.try_into().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three layers in a row and a residual: (a, b), (b, b), (b, c).
    fn work(counts: &[usize]) -> u64 {
        let left = |g: usize| (40 - counts[g]) as u64;
        9 * left(0) * left(1) + 9 * left(1) * left(1) + left(1) * left(2) + 7 * left(2) + 5
    }

    #[test]
    fn the_work_of_layers_is_found_exactly() {
        let price = Price::of(3, |counts| Ok(work(counts))).unwrap();
        for counts in [[0, 0, 0], [1, 2, 3], [39, 1, 20], [17, 38, 5]] {
            assert_eq!(price.at(&counts), work(&counts));
        }
    }

    #[test]
    fn so_many_models_are_looked_at() {
        let seen = std::cell::Cell::new(0);
        let count = |counts: &[usize]| {
            seen.set(seen.get() + 1);
            Ok(work(counts))
        };
        Price::of(3, count).unwrap();
        assert_eq!(seen.get(), Price::models(3));
    }
}
