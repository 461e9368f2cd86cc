//! Panics that are expected: kept off stderr while somebody is there to turn them into errors.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use crate::ExecError;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what an executor does; a panic becomes its error.
pub(crate) fn guard<T>(executor: &str, f: impl FnOnce() -> T) -> Result<T, ExecError> {
    let crash = |reason| ExecError::Crash { executor: executor.into(), reason };
    during(|| catch_unwind(AssertUnwindSafe(f))).map_err(|panic| crash(message(panic.as_ref())))
}

/// Runs `f`; panics of this thread are not printed meanwhile.
fn during<T>(f: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = f();
    QUIET.set(before);
    result
}

/// What a caught panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}
