//! Products of concatenations, which become sums of products of the parts.

use super::Mover;
use crate::{
    cuts::{Cut, Part},
    plan::{Array, Read, Step, Writes},
};

impl Mover<'_> {
    /// A product of a concatenation becomes the sum of the products of its parts; `None` where too much would be added.
    pub(super) fn take_apart(&mut self, step: usize) -> Option<bool> {
        let Cut::Product(_, summed) = &self.plan.steps[step].cut else { return Some(false) };
        let concatenation = |(read, axis): (&Read, &Option<usize>)| {
            let (Read::Array(whole), Some(axis)) = (*read, *axis) else { return None };
            let array = &self.plan.arrays[whole];
            match &self.plan.steps[array.step?].cut {
                Cut::Concat(along, sizes) if *along == axis && !array.kept && sizes.len() > 1 => Some(sizes.clone()),
                _ => None,
            }
        };
        let summed = summed.clone();
        let Some(sizes) = self.plan.steps[step].reads.iter().zip(&summed).find_map(concatenation) else {
            return Some(false);
        };
        let full = sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size));
        let fits = |(read, axis): (&Read, &Option<usize>)| match (*read, *axis) {
            (Read::Array(a), Some(axis)) => self.measures(a, axis, full),
            _ => true,
        };
        if !self.plan.steps[step].reads.iter().zip(&summed).all(fits) {
            return Some(false);
        }
        self.left = self.left.checked_sub(sizes.len().saturating_mul(4))?;
        let of = self.plan.steps[step].clone();
        let (mut sum, mut start, count) = (None, 0, sizes.len());
        for (i, size) in sizes.into_iter().enumerate() {
            let end = start + size;
            let mut reads = Vec::new();
            for (read, axis) in of.reads.iter().zip(&summed) {
                reads.push(match (*read, *axis) {
                    (Read::Array(a), Some(axis)) => Read::Array(self.slice_of(a, Part { axis, start, end })),
                    (Read::Weight(_), Some(_)) => self.plan.own_weight(),
                    (read, None) => read,
                });
            }
            start = end;
            let product = self.like(of.writes[0], reads, of.how, of.cut.clone());
            sum = Some(match sum {
                None => product,
                Some(before) => {
                    let reads = vec![Read::Array(before), Read::Array(product)];
                    let cut = Cut::alike(self.plan.arrays[product].dims.len(), 2);
                    if i + 1 == count {
                        let writes = of.writes.clone();
                        self.replace(step, Step { reads, writes, how: Writes::Over, node: None, cut });
                        break;
                    }
                    self.like(product, reads, Writes::Over, cut)
                }
            });
        }
        Some(true)
    }

    /// A new array like another, and the step that makes it.
    pub(super) fn like(&mut self, array: usize, reads: Vec<Read>, how: Writes, cut: Cut) -> usize {
        self.plan.arrays.push(Array { kept: false, ..self.plan.arrays[array].clone() });
        self.users.push(Vec::new());
        let to = self.plan.arrays.len() - 1;
        let step = self.add(Step { reads, writes: vec![to], how, node: None, cut });
        self.enter(step);
        self.open.push(to);
        to
    }
}
