//! Which elements of its input each window of a convolution or a pool covers. Knows attributes and shapes.

use plimsoll_onnx::{attr, proto::NodeProto};

/// The most windows times taps that are tabled.
const MOST: usize = 1 << 26;

/// Windows over the axes behind batch and channels.
pub(super) struct Geometry {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    begins: Vec<usize>,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl Geometry {
    /// `None` for attributes that do not fit.
    pub(super) fn of(n: &NodeProto, kernel: &[usize], input: &[usize], output: &[usize]) -> Option<Self> {
        let axes = kernel.len();
        if input.len() != axes || output.len() != axes || kernel.contains(&0) {
            return None;
        }
        let counts = |name: &str, default: usize, length: usize| -> Option<Vec<usize>> {
            let Some(given) = attr::ints(n, name) else { return Some(vec![default; length]) };
            let given: Option<Vec<usize>> = given.iter().map(|&v| usize::try_from(v).ok()).collect();
            given.filter(|v| v.len() == length)
        };
        let (strides, dilations) = (counts("strides", 1, axes)?, counts("dilations", 1, axes)?);
        let total = |axis: usize| {
            let reach = (kernel[axis] - 1).checked_mul(dilations[axis])?.checked_add(1)?;
            let covered = output[axis].saturating_sub(1).checked_mul(strides[axis])?.checked_add(reach)?;
            Some(covered.saturating_sub(input[axis]))
        };
        let same = |late: bool| -> Option<Vec<usize>> {
            (0..axes).map(|a| total(a).map(|t| if late { t - t / 2 } else { t / 2 })).collect()
        };
        let begins = match attr::string(n, "auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => counts("pads", 0, 2 * axes)?.get(..axes)?.to_vec(),
            "VALID" => vec![0; axes],
            "SAME_UPPER" => same(false)?,
            "SAME_LOWER" => same(true)?,
            _ => return None,
        };
        let size = kernel.iter().chain(output).try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let found =
            Self { kernel: kernel.into(), strides, dilations, begins, input: input.into(), output: output.into() };
        (size <= MOST && input.iter().product::<usize>() < u32::MAX as usize).then_some(found)
    }

    /// The input position of a tap of a window; none in the padding.
    fn at(&self, tap: usize, place: usize) -> Option<u32> {
        let (mut tap, mut place, mut at, mut step) = (tap, place, 0usize, 1usize);
        for axis in (0..self.kernel.len()).rev() {
            let (t, p) = (tap % self.kernel[axis], place % self.output[axis].max(1));
            (tap, place) = (tap / self.kernel[axis], place / self.output[axis].max(1));
            let here = (p * self.strides[axis] + t * self.dilations[axis]).checked_sub(self.begins[axis])?;
            if here >= self.input[axis] {
                return None;
            }
            at += here * step;
            step *= self.input[axis];
        }
        Some(at as u32)
    }

    /// Tap by tap, then window by window: which input position each reads.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let (taps, places): (usize, usize) = (self.kernel.iter().product(), self.output.iter().product());
        let mut found: Vec<Stretch> = Vec::new();
        for tap in 0..taps {
            let mut open: Option<Stretch> = None;
            for place in 0..places {
                let Some(from) = self.at(tap, place).map(|from| from as usize) else {
                    found.extend(open.take());
                    continue;
                };
                if !open.as_mut().is_some_and(|stretch| stretch.takes(from)) {
                    found.extend(open.replace(Stretch { to: tap * places + place, from, length: 1, step: 1 }));
                }
            }
            found.extend(open);
        }
        found
    }
}

/// Windows side by side that read, by one tap, input positions at one distance from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first of them, in a table of taps by windows.
    pub(super) to: usize,
    /// The input position that it reads.
    pub(super) from: usize,
    pub(super) length: usize,
    /// From one input position to the next.
    pub(super) step: usize,
}

impl Stretch {
    /// Takes the next window in, where it reads what the stretch goes on with.
    fn takes(&mut self, from: usize) -> bool {
        let Some(step) = from.checked_sub(self.from + (self.length - 1) * self.step).filter(|s| *s > 0) else {
            return false;
        };
        let fits = self.length == 1 || step == self.step;
        if fits {
            (self.length, self.step) = (self.length + 1, step);
        }
        fits
    }
}

/// The elements of each window of a pool, and what its mean divides by.
pub(super) fn pool_members(n: &NodeProto, input: &[usize], output: &[usize]) -> Option<(Vec<Vec<u32>>, Vec<f32>)> {
    let kernel: Vec<usize> =
        attr::ints(n, "kernel_shape")?.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
    // Windows that reach beyond the padding count other elements: not worth a rule.
    if attr::int(n, "ceil_mode").unwrap_or(0) != 0 {
        return None;
    }
    let geometry = Geometry::of(n, &kernel, input, output)?;
    let (taps, places): (usize, usize) = (kernel.iter().product(), output.iter().product());
    let padding = attr::int(n, "count_include_pad").unwrap_or(0) != 0;
    let members: Vec<Vec<u32>> =
        (0..places).map(|place| (0..taps).filter_map(|tap| geometry.at(tap, place)).collect()).collect();
    let counts = members.iter().map(|m| if padding { taps } else { m.len() }.max(1) as f32).collect();
    Some((members, counts))
}
