//! Elementary functions in f32 that the compiler can vectorize: no branches, no tables, no calls.

/// Adding and subtracting it rounds to the nearest whole number, ties to even, below 2²² (1.5 · 2²³).
const ROUND: f32 = 12_582_912.;

#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// The low byte of a whole number in 0 … 255.
#[inline(always)]
pub(super) fn byte(x: f32) -> u8 {
    (x + 8_388_608.).to_bits() as u8
}

/// `max` that hands NaN on.
#[inline(always)]
pub(super) fn max(x: f32, bound: f32) -> f32 {
    if x < bound { bound } else { x }
}

/// `min` that hands NaN on.
#[inline(always)]
pub(super) fn min(x: f32, bound: f32) -> f32 {
    if x > bound { bound } else { x }
}

/// `e^x`, relative error below 2e-7 (Cephes `expf`: Cody–Waite reduction and a polynomial of degree 5); results beyond the range of
/// normal numbers are the nearest normal number or 0.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = min(max(x, -87.336_54), 88.376_26);
    let n = round(clamped * std::f32::consts::LOG2_E);
    let r = clamped - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let e = p * r * r + r + 1.;
    // 2^n: the whole number in the exponent's place.
    let scale = f32::from_bits((n + (ROUND + 127.)).to_bits().wrapping_shl(23));
    let y = e * scale;
    if x < -87.336_54 { 0. } else { y }
}

/// Hyperbolic tangent, error below 2e-7 (Cephes `tanhf`: an odd polynomial near 0, else by `exp`).
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * z + 2.063_909e-2;
    p = p * z - 5.373_971_6e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328e-1;
    let near = p * z * x + x;
    let far = (1. - 2. / (exp(2. * x.abs()) + 1.)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1. / (1. + exp(-x))
}

/// Error function, error below 5e-7: an odd polynomial over an even one (coefficients of Eigen's `erf`), on −4 … 4, beyond which it is
/// ±1 in f32.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = min(max(x, -4.), 4.);
    let z = x * x;
    let mut p = -2.726_142_3e-10;
    p = p * z + 2.770_681_4e-8;
    p = p * z - 2.101_024e-6;
    p = p * z - 5.692_506_4e-5;
    p = p * z - 7.349_906_3e-4;
    p = p * z - 2.954_6e-3;
    p = p * z - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * z - 2.133_740_5e-4;
    q = q * z - 1.682_827e-3;
    q = q * z - 7.373_329e-3;
    q = q * z - 1.426_473_9e-2;
    x * p / q
}

/// `x × (1 + erf(x ÷ √2)) ÷ 2`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1. + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}
