//! How long inferences took, in bins that merge by addition, as the store keeps them: each bin's count as a varint (LEB128), trailing
//! zeros left out.

use plimsoll_record::DeviceDay;

/// Inferences by the power of two of their microseconds ([`DeviceDay::latency_log2_us`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram([u64; DeviceDay::LATENCY_BINS]);

impl Histogram {
    /// Adds what [`encode`] wrote. Bins beyond the last are none, and a count that does not end counts for nothing.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let mut bins = self.0.iter_mut();
        let (mut count, mut shift) = (0_u64, 0_u32);
        for byte in bytes {
            count |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                let Some(bin) = bins.next() else { return };
                *bin = bin.saturating_add(count);
                (count, shift) = (0, 0);
            }
        }
    }

    /// Inferences.
    pub fn inferences(&self) -> u64 {
        self.0.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Microseconds that so large a share of the inferences took less than: the upper end of a bin, at most twice too much. `None` of
    /// nothing, and of the last bin, which has no end.
    pub fn below(&self, share: f64) -> Option<u64> {
        let wanted = (self.inferences() as f64 * share).ceil().max(1.0);
        let mut seen = 0_u64;
        let bin = self.0.iter().position(|n| {
            seen = seen.saturating_add(*n);
            seen as f64 >= wanted
        })?;
        (bin + 1 < DeviceDay::LATENCY_BINS).then(|| 1 << (bin + 1))
    }
}

/// Bins as they are stored.
pub(crate) fn encode(bins: &[u64]) -> Vec<u8> {
    let used = bins.iter().rposition(|n| *n > 0).map_or(0, |last| last + 1);
    let mut bytes = Vec::new();
    for mut count in bins.iter().copied().take(used) {
        while count > 0x7f {
            bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_merge_and_their_ends_bound_what_was_measured() {
        let bins = [0, 0, 3, 900, 70_000, u64::from(u32::MAX), 0, 0];
        let bytes = encode(&bins);
        assert_eq!(bytes.len(), 1 + 1 + 1 + 2 + 3 + 5);
        let mut sum = Histogram::default();
        sum.add(&bytes);
        sum.add(&encode(&[5]));
        assert_eq!(sum.inferences(), bins.iter().sum::<u64>() + 5);
        assert_eq!([sum.below(0.0), sum.below(0.000_01), sum.below(0.99)], [Some(2), Some(32), Some(64)]);
        assert_eq!(Histogram::default().below(0.5), None);
    }

    #[test]
    fn bytes_that_nobody_wrote_do_no_harm() {
        let mut sum = Histogram::default();
        sum.add(&[0xff; 40]);
        sum.add(&[1; 100]);
        assert_eq!(sum.inferences(), DeviceDay::LATENCY_BINS as u64);
        assert_eq!(sum.below(1.0), None, "the last bin has no end");
    }
}
