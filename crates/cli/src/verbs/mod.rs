//! One file a verb. Each takes the world and its arguments and says how it ended.

pub(crate) mod adapt;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod channel;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod contract;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod optimize;
pub(crate) mod passes;
pub(crate) mod quantized;
pub(crate) mod release;
#[cfg(feature = "rollout")]
pub(crate) mod rollout;
pub(crate) mod verify;
pub(crate) mod worker;
