//! Distribution functions and their quantiles: normal, Student's t, beta, binomial.
//!
//! Precise to about 1e-12 where tests compare them with tables, which is far below what any interval needs.

/// The logarithm of the gamma function for a positive argument (Lanczos 1964, with g = 7 and nine terms).
pub fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let sum = TERMS[1..].iter().zip(1..).fold(TERMS[0], |sum, (term, i)| sum + term / (x + f64::from(i)));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

/// The logarithm of the beta function.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The regularized incomplete beta function `I_x(a, b)`, the distribution function of Beta(a, b): a continued fraction by
/// Lentz's method (Abramowitz and Stegun 26.5.8).
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        // The fraction converges quickly on the other side.
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// The quantile of Beta(a, b).
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let ln_front = -ln_beta(a, b);
    let density = |x: f64| (ln_front + (a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p()).exp();
    newton(p, a / (a + b), [0.0, 1.0], |x| beta_cdf(x, a, b), density)
}

/// The probability of at most `k` events in `n` trials of probability `p`.
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { beta_cdf(1.0 - p, (n - k) as f64, k as f64 + 1.0) }
}

/// The distribution function of Student's t with `df` degrees of freedom, which need not be whole.
pub fn t_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * beta_cdf(df / (df + t * t), df / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The quantile of Student's t. Infinitely many degrees of freedom make it the normal one.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if p < 0.5 {
        return -t_quantile(1.0 - p, df);
    }
    if df > 1e6 {
        return normal_quantile(p);
    }
    let mut high = 2.0;
    while t_cdf(high, df) < p && high < 1e12 {
        high *= 2.0;
    }
    let ln_front = -0.5 * df.ln() - ln_beta(df / 2.0, 0.5);
    let density = |t: f64| (ln_front - (df + 1.0) / 2.0 * (t * t / df).ln_1p()).exp();
    newton(p, high / 2.0, [0.0, high], |t| t_cdf(t, df), density)
}

/// The distribution function of the standard normal.
pub fn normal_cdf(z: f64) -> f64 {
    let tail = 0.5 * upper_gamma_half(z * z / 2.0);
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The quantile of the standard normal.
pub fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let density = |z: f64| (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // A start that is off by at most 0.0005 (Abramowitz and Stegun 26.2.23).
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let start = above / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308))) - t;
    newton(p, start, [-40.0, 0.1], normal_cdf, density)
}

/// Where a distribution function reaches `p`, by Newton's method, halving the bracket where a step leaves it.
fn newton(
    p: f64,
    start: f64,
    [mut low, mut high]: [f64; 2],
    cdf: impl Fn(f64) -> f64,
    density: impl Fn(f64) -> f64,
) -> f64 {
    let mut x = start;
    for _ in 0..100 {
        let excess = cdf(x) - p;
        if excess > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let next = x - excess / density(x);
        let next = if next > low && next < high { next } else { low + (high - low) / 2.0 };
        if (next - x).abs() <= 1e-15 * x.abs().max(1e-3) {
            return next;
        }
        x = next;
    }
    x
}

/// `Γ(½, x) / Γ(½)`, which is erfc(√x): a series below 1.5, a continued fraction above (Abramowitz and Stegun 6.5.29, 6.5.31).
fn upper_gamma_half(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (-x + 0.5 * x.ln() - ln_gamma(0.5)).exp();
    if x < 1.5 {
        let (mut term, mut sum, mut a) = (2.0, 2.0, 0.5);
        while term > sum * 1e-17 {
            a += 1.0;
            term *= x / a;
            sum += term;
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 0.5;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut fraction = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - 0.5);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f64, table: f64) {
        assert!((found - table).abs() <= 1e-10 * table.abs().max(1e-3), "{found:e} is not {table:e}");
    }

    // scipy 1.17, `docs/check_metrics.py quantiles`.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        check(normal_quantile(0.975), 1.959_963_984_540_054);
        check(normal_quantile(0.5), 0.0);
        check(normal_quantile(1e-9), -5.997_807_015_007_686_5);
        check(normal_cdf(-3.0), 0.001_349_898_031_630_094_6);
        check(normal_cdf(0.5), 0.691_462_461_274_013_1);
        check(t_quantile(0.975, 4.0), 2.776_445_105_197_793_4);
        check(t_quantile(0.975, 1.0), 12.706_204_736_174_694);
        check(t_quantile(0.95, 9.5), 1.822_189_301_318_677_8);
        check(t_quantile(0.025, 100.0), -1.983_971_518_523_552);
        check(beta_cdf(0.3, 2.0, 5.0), 0.579_825);
        check(beta_cdf(0.999, 900.0, 2.0), 0.772_134_582_835_888_2);
        check(binomial_cdf(3, 20, 0.1), 0.867_046_676_565_669_5);
        check(binomial_cdf(20, 20, 0.1), 1.0);
        check(ln_gamma(0.1), 2.252_712_651_734_206);
        check(ln_gamma(1234.5), 7_550.550_901_077_894);
    }
}
