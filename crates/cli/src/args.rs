//! The command line as data. Help texts are the manual: they state units, defaults and what is written where.

mod channel;
mod judging;
mod passes;
mod release;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::verbs::device;
pub(crate) use channel::{Actor, Audit, Channel};
pub(crate) use judging::{Bench, Check, Compare, Evaluate, Format, OnInconclusive};
pub(crate) use passes::{Adapt, Contract, Optimize, Output, Prune, Quantize, Simplify};
pub(crate) use release::{Release, Repository, Verify};
pub(crate) use values::seconds;
use values::{number, shape};

/// Makes ONNX models light, shows that they float, and lets them sail.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 pass · 2 usage · 96 bad input · 97 a pass refused · 98 verification refused · 100 gate failed · \
                  102 inconclusive · 1 anything else. `plimsoll explain CODE` is the manual page of an error."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Where models are run
    #[arg(long, global = true, value_enum, default_value_t = ExecutorName::Tract)]
    pub(crate) executor: ExecutorName,
    /// onnxruntime's library; without it ORT_DYLIB_PATH is looked at, then the Python package onnxruntime
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Runs tract's own plan instead of the one lowered to Plimsoll's fused operators
    #[arg(long, global = true)]
    pub(crate) no_lower: bool,
    /// Threads that one run of a model may use
    #[arg(long, global = true, default_value_t = 1, value_name = "N", value_parser = number::<1, 1024>)]
    pub(crate) threads: usize,
    /// Seed of whatever draws random numbers; the same seed gives the same result
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Print one JSON document to stdout instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Seconds that one load or run of a model may take before its process is ended
    #[arg(long, global = true, default_value_t = 300, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=604_800))]
    pub(crate) time_limit: u64,
    /// Memory that the process running models may have, in MiB; about 100 go to the program itself
    #[arg(long, global = true, default_value_t = 8192, value_name = "MIB", value_parser = value_parser!(u64).range(256..))]
    pub(crate) memory_limit: u64,
}

/// The executors of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum ExecutorName {
    /// tract, embedded
    Tract,
    /// onnxruntime, from a library on this machine
    #[value(name = "onnxruntime")]
    OnnxRuntime,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Draft a short, commented plimsoll.toml for a model: budgets are today's figures + 10 %
    ///
    /// Counts the model, evaluates it where the samples have labels, and times it. What it writes is a release spec that `check`
    /// judges by at once; add data, profiles and margins as they come. An existing file is never overwritten.
    #[command(after_help = "Example:\n  plimsoll init model.onnx --data test.npz && plimsoll check plimsoll.toml")]
    Init(Init),
    /// What this machine can measure and sign, and what is missing
    ///
    /// Looks at the build, the executor, this folder, the machine, its load and the signing keys. Ends with 1 where something
    /// needed is missing; a busy machine is only remarked on.
    Doctor,
    /// What a model is, and what each of its nodes costs
    ///
    /// Inputs, outputs, operator sets; for each node its output shape, multiply-accumulates (of convolutions, matrix products and
    /// recurrent layers), parameters and their bytes; totals, and the peak of activations alive at once. Nothing is run.
    #[command(after_help = "Example:\n  plimsoll inspect model.onnx --batch 8 --json")]
    Inspect(Inspect),
    /// Remove what costs and does nothing: results stay the same
    ///
    /// Folds constants, batch normalization and padding, drops identities, dropout and dead nodes, shares equal sub-expressions and
    /// weights. The result is run against the original: on the samples given, else on inputs drawn from ranges that are declared
    /// or recorded; where there are none, it says "not checked". A pass that changed results would be refused.
    #[command(after_help = "Example:\n  plimsoll simplify model.onnx -o simple.onnx --data calib.npz --explain")]
    Simplify(Simplify),
    /// Store weights, and compute, in fewer bits
    ///
    /// The model is simplified first. `int8` writes QuantizeLinear/DequantizeLinear pairs with unsigned activations and symmetric
    /// weights, which executors turn into integer kernels; ranges come from the calibration samples. The schemes for weights store
    /// fewer bytes and compute in float32. Where there are samples, layers are then fitted to the original, without labels, and
    /// kept only where that brings the outputs nearer. A result that is no smaller is refused (97).
    #[command(
        after_help = "Examples:\n  plimsoll quantize model.onnx -o int8.onnx --data calib.npz\n  plimsoll quantize model.onnx -o half.onnx --scheme f16"
    )]
    Quantize(Quantize),
    /// Remove channels (smaller shapes) or set weights to zero
    ///
    /// The model is simplified first. Channels go with everything that is coupled to them; the share removed lies between what was
    /// asked for and 2 points more. With --data they are chosen by what the model loses on these samples, and the layers behind them
    /// are fitted again, without labels; without, by the norm of their weights, and nothing is repaired. Evaluate what comes out.
    /// `--sparsity` keeps the shapes: the file is smaller once compressed, and no faster.
    #[command(
        after_help = "Example:\n  plimsoll prune model.onnx -o pruned.onnx --data calib.npz --remove-macs 20% && plimsoll evaluate pruned.onnx --data test.npz --baseline model.onnx"
    )]
    Prune(Prune),
    /// Make a model fit the pipeline that runs today, or say why it cannot
    ///
    /// Holds the model against the pipeline's contract: names, dtypes, layout, units and ranges, sampling rate, normalisation, missing
    /// values, classes and their order, operator set and operators. Says point by point what fits, what an adapter can do, and what
    /// cannot be; of the latter ends with 100, naming what is missing. With -o the adapter is written into the model as nodes, folded
    /// into neighbours where that is exact, and run beside "the pipeline's conversion, then the original model": on recorded inputs,
    /// else on inputs drawn from the ranges that the contract states.
    #[command(
        after_help = "Examples:\n  plimsoll adapt model.onnx --contract contract.toml --check\n  plimsoll adapt model.onnx --contract contract.toml -o adapted.onnx"
    )]
    Adapt(Adapt),
    /// Contracts of running pipelines
    #[command(subcommand)]
    Contract(Contract),
    /// Search for the lightest model that keeps the budgets of a spec and its profiles
    ///
    /// Prunes and quantizes in many ways; counts each candidate, compares it with the original without labels, evaluates it on the
    /// validation data, and times it in the executors that the profiles name, as far as it stays in the running. Writes winner.onnx,
    /// recipe.json, candidates/, ranking.json, search.json, and a cache from which a later search goes on. The winner and the runner-up are
    /// judged on the test data; nothing is chosen by these. Ends with 100 where no candidate can be chosen, or the winner violates a budget
    /// on the test data; with 102 where these do not show that it keeps them.
    #[command(
        after_help = "Example:\n  plimsoll optimize plimsoll.toml -o candidates --budget 5m\n  plimsoll optimize plimsoll.toml -o again --recipe candidates/recipe.json"
    )]
    Optimize(Optimize),
    /// Accuracy of a model on labelled data, and its agreement with a baseline
    ///
    /// Scores are the first output, one row a sample. Every figure has a 95 % interval; samples of one `group` are not taken for
    /// independent. Labels that are whole numbers are classes: accuracy, balanced-accuracy, auc, f1, f1-macro, f1-weighted, kappa,
    /// kappa-linear, kappa-quadratic, top-5. Labels that are floats are targets of a regression: mae, rmse. With a baseline
    /// agreement, output-error, output-sqnr, output-cosine, and how much worse the model is: accuracy-drop,
    /// balanced-accuracy-drop, auc-drop, f1-macro-drop, kappa-drop, mae-increase, rmse-increase. Held against a --margin these end
    /// with 100 where one exceeds it, with 102 where the samples do not settle it. Endpoints are those of the spec that is named, or of
    /// a plimsoll.toml beside the model or the baseline that names one of them as its model; they need a baseline and groups.
    #[command(
        after_help = "Examples:\n  plimsoll evaluate int8.onnx --data test.npz --baseline model.onnx\n  plimsoll evaluate int8.onnx --data test.npz --baseline model.onnx --margin accuracy-drop=0.5pp\n  plimsoll evaluate plimsoll.toml --baseline today.onnx"
    )]
    Evaluate(Evaluate),
    /// Latency of a model, alone or in alternation with a baseline
    ///
    /// Warm, in a process of its own. With a baseline, blocks of runs alternate in one process, so that drift of the machine hits
    /// both alike, and the ratio is taken block by block. A percentile is withheld where the runs do not carry it.
    #[command(after_help = "Example:\n  plimsoll bench int8.onnx --baseline model.onnx --data test.npz")]
    Bench(Bench),
    /// Several models on the same samples: the best first, each beside the one that has to be beaten
    ///
    /// Each spec names a model and its test data; the data may hold other features, but labels and groups must be the same, in the
    /// same order. The baseline is the spec that `[compare] baseline` names, else the first. Intervals are paired. A model is better
    /// where the whole interval is in its favour, not worse where it is within the margin of its spec, worse where the whole interval is
    /// against it; else nobody can tell.
    #[command(
        after_help = "Example:\n  plimsoll compare today/plimsoll.toml wider/plimsoll.toml recurrent/plimsoll.toml -o board.html"
    )]
    Compare(Compare),
    /// Hold a model against budgets: pass, fail or inconclusive
    ///
    /// A budget is kept where the whole interval of its figure keeps it, and violated where the whole interval does; otherwise, and
    /// where there is no figure, it is inconclusive. An absolute time is judged only on a machine of the profile's kind: have one
    /// measure, and take its signed figures over with --evidence. A violated budget points at the line that set it.
    #[command(
        after_help = "Examples:\n  plimsoll check plimsoll.toml\n  plimsoll check model.onnx --profile profiles/server-x86.toml --data test.npz --baseline today.onnx\n  plimsoll check model.onnx --profile profiles/device-bedside-cortex-a.toml --evidence bench.dsse.json --evidence-key device.pub.pem\n  plimsoll check --changed-since origin/main --format github"
    )]
    Check(Check),
    /// The main job: optimize, check, bench, sign, and place in the beta channel
    ///
    /// Searches on the validation data, judges the winner once on the test data, writes a release folder (payload, OpenSSF
    /// signature, attestations), publishes it to the beta channel of a local repository and verifies that. Keys are made on first
    /// use and everything is marked `trial`, which production clients refuse. A version that was released before gets a suffix.
    #[command(
        after_help = "Examples:\n  plimsoll release plimsoll.toml --json\n  plimsoll release plimsoll.toml --key engineer.pem --push oci://registry.example/sleep-wake:1.4.0\n  plimsoll release plimsoll.toml --reproduce .plimsoll/releases/sleep-wake-1.4.0\n  plimsoll release --from .plimsoll/releases/sleep-wake-1.4.0 --dossier=dossier.md"
    )]
    Release(Release),
    /// Verify a release folder or a repository
    ///
    /// Prints each thing that was checked; the first that does not hold ends it with 98. Without --public-key or --root a release or
    /// repository vouches for itself: that proves that nothing changed, not who signed.
    #[command(
        after_help = "Examples:\n  plimsoll verify .plimsoll/repository/sleep-wake --root trusted-root.json\n  plimsoll verify oci://registry.example/sleep-wake:1.4.0 --public-key release.pub.pem --policy demands.toml"
    )]
    Verify(Verify),
    /// See what a channel points to, or promote a release to it
    #[command(subcommand)]
    Channel(Channel),
    /// From beta to everybody: take telemetry in, judge it, move the release, halt it
    #[cfg(feature = "rollout")]
    #[command(subcommand)]
    Rollout(crate::verbs::rollout::args::Rollout),
    /// From beta to everybody: not in this build
    #[cfg(not(feature = "rollout"))]
    Rollout {
        /// Whatever follows
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        rest: Vec<String>,
    },
    /// The agent of a device: follow a channel, run, report, measure
    ///
    /// A device's file says who it is, where the repository lies and what a release may cost it (docs/examples/device.toml).
    /// `plimsoll-device` is the same as a small program, without the optimizer.
    #[command(
        subcommand,
        after_help = "Example:\n  plimsoll device sync device.toml && plimsoll device run device.toml --data test.npz && plimsoll device report device.toml --today"
    )]
    Device(device::Device),
    /// Verify or export a repository's audit log
    #[command(subcommand)]
    Audit(Audit),
    /// The manual page of an error
    Explain {
        /// The code, as an error prints it; without one, all codes are listed
        code: Option<String>,
    },
    /// Runs models for a parent process (internal)
    #[command(name = "__worker", hide = true)]
    Worker {
        /// The library of onnxruntime, where that is what runs models
        library: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    /// Samples, an npz file: arrays named as the model's inputs, `label` and `group` where there are any
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: PathBuf,
    /// Where to write the spec [default: plimsoll.toml beside the model]
    #[arg(short, long, value_name = "TOML")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    /// Batch size: the first dimension of each input, where it is open
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) batch: u64,
    /// Shape of an input whose dimensions are open, as images=1x3x320x320; without it, those beyond the first count as 1. May be
    /// given more than once
    #[arg(long, value_name = "INPUT=DIMS", value_parser = shape)]
    pub(crate) shape: Vec<(String, Vec<usize>)>,
}
