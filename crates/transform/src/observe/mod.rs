//! What runs of a model on samples show: inner values as rows that layers multiply, how far outputs are from those of the
//! original. Knows executors by their trait; must not know what passes make of it.

mod damage;
mod each;
mod judge;
mod part;
mod reading;
mod rows;
mod runs;
mod study;

pub(crate) use self::{
    damage::{Losses, Reference},
    each::{each, held},
    judge::Judge,
    part::Part,
    reading::Reading,
    rows::{Resumed, Targets, Wanted, inputs, rows_a_run, targets},
    runs::{Runs, floats},
    study::{Parted, Seen, Wish, study},
};
pub use damage::Damage;
