//! The manual: a page for every error code, shown by `explain`.

use crate::exit::Exit;

macro_rules! pages {
    ($($variant:ident = $code:literal;)*) => {
        /// What kind of error it is; each has a page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($variant),* }

        impl Code {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// As printed and as `explain` takes it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The page, in Markdown.
            pub(crate) fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("manual/", $code, ".md"))),* }
            }
        }
    };
}

pages! {
    BadModel = "bad-model";
    ExternalData = "external-data";
    BadData = "bad-data";
    DataOverlap = "data-overlap";
BadConfig = "bad-config";    CommandFailed = "command-failed";
    NotWritten = "not-written";
    Unsupported = "unsupported";
    ExecutorCrash = "executor-crash";
    LimitReached = "limit-reached";
    PassRefused = "pass-refused";
    CheckDiffers = "check-differs";
    GateFailed = "gate-failed";
    Incompatible = "incompatible";
    GateInconclusive = "gate-inconclusive";
    VerificationRefused = "verification-refused";
    EvidenceRefused = "evidence-refused";
    BadKey = "bad-key";
    TrialRepository = "trial-repository";
    NoRepository = "no-repository";
    BadRelease = "bad-release";
    RolloutOrder = "rollout-order";
    RepositoryBusy = "repository-busy";
    DebugBuild = "debug-build";
    Internal = "internal";
}

impl Code {
    /// The code of a name, as a user may write it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name().eq_ignore_ascii_case(name.trim()))
    }

    /// What a process that fails so ends in.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::BadModel | Self::ExternalData | Self::BadData | Self::DataOverlap | Self::BadConfig => Exit::BadInput,
            // A model that cannot be run here, and a folder that cannot be written to, are inputs too.
            Self::Unsupported | Self::ExecutorCrash | Self::LimitReached | Self::CommandFailed => Exit::BadInput,
            Self::NotWritten | Self::NoRepository | Self::BadRelease | Self::BadKey => Exit::BadInput,
            Self::PassRefused | Self::RolloutOrder => Exit::Refused,
            Self::VerificationRefused | Self::EvidenceRefused | Self::TrialRepository => Exit::VerificationRefused,
            Self::GateFailed | Self::Incompatible => Exit::GateFailed,
            Self::GateInconclusive => Exit::Inconclusive,
            Self::CheckDiffers | Self::RepositoryBusy | Self::DebugBuild | Self::Internal => Exit::Other,
        }
    }

    /// The first line of the page, without its mark.
    pub(crate) fn title(self) -> &'static str {
        self.page().lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_page_is_titled_with_its_own_code() {
        for code in Code::ALL {
            let prefix = format!("# {}: ", code.name());
            assert!(code.page().starts_with(&prefix), "{} does not start with {prefix}", code.name());
            assert_eq!(Code::find(code.name()), Some(*code));
        }
    }
}
