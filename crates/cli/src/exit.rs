//! Exit codes: the contract with scripts and CI.

/// What a verb ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything held.
    Pass,
    /// The command line is wrong.
    Usage,
    /// A file is not what it should be.
    BadInput,
    /// A pass refused to change the model.
    Refused,
    /// A signature, digest or role did not verify.
    VerificationRefused,
    /// A budget is violated.
    GateFailed,
    /// The figures do not settle a budget.
    Inconclusive,
    /// Anything else.
    Other,
}

impl Exit {
    /// The process exit code. Never 101, which is Rust's own for a panic.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Usage => 2,
            Self::BadInput => 96,
            Self::Refused => 97,
            Self::VerificationRefused => 98,
            Self::GateFailed => 100,
            Self::Inconclusive => 102,
            Self::Other => 1,
        }
    }

    /// Of several, the one that decides: bad input, verification, refusal, gate, inconclusive; anything else before pass.
    pub(crate) fn of_several(exits: impl IntoIterator<Item = Self>) -> Self {
        let rank = |e: &Self| match e {
            Self::BadInput => 0,
            Self::VerificationRefused => 1,
            Self::Refused => 2,
            Self::GateFailed => 3,
            Self::Inconclusive => 4,
            Self::Usage => 5,
            Self::Other => 6,
            Self::Pass => 7,
        };
        exits.into_iter().min_by_key(rank).unwrap_or(Self::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{self, *};

    #[test]
    fn of_several_codes_the_documented_order_decides() {
        let order = [BadInput, VerificationRefused, Refused, GateFailed, Inconclusive, Pass];
        for (i, first) in order.into_iter().enumerate() {
            for second in &order[i..] {
                assert_eq!(Exit::of_several([*second, first]), first);
            }
        }
        assert_eq!(order.map(Exit::code), [96, 98, 97, 100, 102, 0]);
    }
}
