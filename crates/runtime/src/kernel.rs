//! A fixed piece of arithmetic. On an idle machine it takes the same time whenever it runs; what it takes beyond that says how
//! far other work, a lower clock or a busy hypervisor slow the machine at that moment.

use std::{hint::black_box, time::Instant};

/// Rows, columns and depth of the product.
const SIZE: usize = 64;

/// Multiplies two fixed matrices `runs` times; the wall time of each product in nanoseconds.
pub(crate) fn time(runs: usize) -> Vec<u64> {
    let fill = |scale: f32| -> Vec<f32> { (0..SIZE * SIZE).map(|i| scale * (i % 7) as f32).collect() };
    let (a, b, mut c) = (fill(0.5), fill(0.25), vec![0f32; SIZE * SIZE]);
    let mut once = || {
        let start = Instant::now();
        c.fill(0.0);
        for (row, out) in a.chunks_exact(SIZE).zip(c.chunks_exact_mut(SIZE)) {
            for (x, other) in black_box(row).iter().zip(b.chunks_exact(SIZE)) {
                out.iter_mut().zip(other).for_each(|(o, y)| *o += x * y);
            }
        }
        black_box(&c);
        start.elapsed().as_nanos() as u64
    };
    (0..runs).map(|_| once()).collect()
}
