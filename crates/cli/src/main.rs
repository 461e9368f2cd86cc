//! `plimsoll`: the command line. Parses, calls the verbs in order, prints, and ends in a documented exit code.
//!
//! The only crate that prints, and the only one that knows all others; it must not know how a figure or a patch is made.

mod args;
mod changed;
mod contracts;
mod evidence;
mod executors;
mod exit;
mod failure;
mod git;
mod history;
mod manual;
mod page;
mod places;
mod project;
mod reference;
mod registry;
mod repositories;
mod searching;
mod secrets;
mod ui;
mod verbs;
mod world;

use std::{panic, process::ExitCode};

use clap::Parser;
use plimsoll_runtime::Counting;

use crate::{args::Verb, exit::Exit, failure::Failure, manual::Code, world::World};

/// Workers are this program as well, and say what a run allocates.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    // Rust ends a panicking process with 101, which is none of our codes.
    let exit = panic::catch_unwind(run).unwrap_or_else(|_| {
        Failure::new(Code::Internal, "a part of plimsoll panicked; the message is above").say();
        Exit::Other
    });
    ExitCode::from(exit.code())
}

fn run() -> Exit {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { Exit::Usage } else { Exit::Pass };
        }
    };
    let plain = cli.common.no_lower;
    let world = World::new(cli.common);
    let outcome = match cli.verb {
        Verb::Init(args) => verbs::init::run(&world, &args),
        Verb::Doctor => verbs::doctor::run(&world),
        Verb::Inspect(args) => verbs::inspect::run(&world, &args),
        Verb::Simplify(args) => verbs::passes::simplify(&world, &args),
        Verb::Quantize(args) => verbs::passes::quantize(&world, &args),
        Verb::Prune(args) => verbs::passes::prune(&world, &args),
        Verb::Adapt(args) => verbs::adapt::run(&world, &args),
        Verb::Contract(args) => verbs::contract::run(&world, &args),
        Verb::Optimize(args) => verbs::optimize::run(&world, &args),
        Verb::Evaluate(args) => verbs::evaluate::run(&world, &args),
        Verb::Bench(args) => verbs::bench::run(&world, &args),
        Verb::Compare(args) => verbs::compare::run(&world, &args),
        Verb::Check(args) => verbs::check::run(&world, &args),
        Verb::Release(args) => verbs::release::run(&world, &args),
        Verb::Verify(args) => verbs::verify::run(&world, &args),
        Verb::Channel(args) => verbs::channel::run(&world, &args),
        #[cfg(feature = "rollout")]
        Verb::Rollout(args) => verbs::rollout::run(&world, &args),
        #[cfg(not(feature = "rollout"))]
        Verb::Rollout { rest: _ } => Err(Failure::new(Code::Unsupported, "this build has no verb `rollout`")
            .help("`cargo xtask rollout` builds it, as does `cargo build --release -p plimsoll-cli`")),
        Verb::Device(verb) => verbs::device::run(&world, &verb),
        Verb::Audit(args) => verbs::audit::run(&world, &args),
        Verb::Explain { code } => verbs::explain::run(code.as_deref()),
        Verb::Worker { library } => return verbs::worker::run(library.as_deref(), plain),
    };
    outcome.unwrap_or_else(|failure| {
        failure.say();
        failure.exit()
    })
}
