//! Borders: the elements of a padded buffer that no step writes.

use super::Compute;
use crate::isa::Kernels;
use crate::program::{Buffer, Env, Taken};

/// The step: each range of `output` becomes `value`.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) output: Buffer,
    /// Half-open, ascending.
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) value: f32,
}

impl Compute for Fill {
    #[inline(always)]
    fn run<K: Kernels>(&self, env: &mut Env<'_>) {
        let mut taken = env.take(self.output);
        let ranges = self.ranges.iter().map(|(from, to)| *from as usize..*to as usize);
        match &mut taken {
            Taken::F32(y) => ranges.for_each(|range| y.as_mut_slice()[range].fill(self.value)),
            Taken::U8(y) => ranges.for_each(|range| y.as_mut_slice()[range].fill(self.value as u8)),
        }
        env.put(self.output, taken);
    }
}
