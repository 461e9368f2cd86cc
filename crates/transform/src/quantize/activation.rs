//! The type of quantized activations.

/// How codes of activations are stored. Both have the same 256 steps; they differ in which integer kernels take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ActivationType {
    /// Unsigned: what integer kernels are fastest on.
    #[default]
    U8,
    /// Signed: zero points and codes are 128 less.
    S8,
}

impl ActivationType {
    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::S8 => "s8",
        }
    }
}
