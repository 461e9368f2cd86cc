//! The command line as data. Help texts are the manual: they state units, defaults and what is written where.

mod channel;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use plimsoll_transform::{
    prune::{Allocation, Blocks, Compensation, Milliseconds, Repair, Score},
    quantize::{Calibration, Portion},
};

use crate::{evidence, verbs::device};
pub(crate) use channel::{Actor, Audit, Channel};

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

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Where to write the model; never the input itself
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    pub(crate) path: PathBuf,
    /// Shorten inner names and drop doc strings; a map of the old names goes beside OUT
    #[arg(long)]
    pub(crate) strip_names: bool,
    /// Print what each pass did, and why
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Simplify {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Samples to check the result on; without them, inputs are drawn
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Calibration samples, an npz file without labels; `int8` needs them
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// int8: weights and activations (QDQ) · w4a8: the same with weights in 4 bits · int8-dynamic: int8 without samples, scales
    /// found at run time · int8-weights, int4-weights: weights alone, computed in float32 · f16: weights in half precision
    #[arg(long, default_value = "int8")]
    pub(crate) scheme: String,
    /// One scale for each output channel of a weight, or one for all
    #[arg(long, default_value = "per-channel", value_parser = ["per-channel", "per-tensor"])]
    pub(crate) granularity: String,
    /// How ranges of activations are found (int8): mse: the codes that are nearest · minmax: all values seen · percentile[:P]: P %
    /// of them [P: 99.99] · entropy: the codes whose distribution is nearest (KL)
    #[arg(long, default_value = "mse", value_name = "METHOD", value_parser = calibration)]
    pub(crate) calibration: String,
    /// Type of quantized activations (int8); most integer kernels are fastest on unsigned ones
    #[arg(long, default_value = "u8", value_parser = ["u8", "s8"])]
    pub(crate) activations: String,
    /// Weights use 7 of 8 bits (int8, int8-dynamic): sums of u8·i8 products then cannot saturate on x86 without VNNI
    #[arg(long)]
    pub(crate) reduce_range: bool,
    /// Inputs of int8 convolutions get channels of zeros until they are a multiple of N; onnxruntime is much quicker at a first layer
    /// of 4 channels than of 3
    #[arg(long, value_name = "N", value_parser = number::<2, 64>)]
    pub(crate) pad_channels: Option<usize>,
    /// Factors that move between layers first, so that no channel takes the codes of others; what is computed stays the same.
    /// cross-layer: from the weights · smooth: from activations and weights · auto: where the scheme gains by it
    /// [default: auto; none with --repair none]
    #[arg(long, value_parser = ["none", "cross-layer", "smooth", "auto"])]
    pub(crate) equalize: Option<String>,
    /// How the result is brought back towards the original, each method with those before it [default: gptq where there are samples]
    #[arg(long, value_parser = ["none", "bias", "least-squares", "gptq"])]
    pub(crate) repair: Option<String>,
    /// Name of a node that stays in float; may be given more than once
    #[arg(long, value_name = "NODE")]
    pub(crate) exclude: Vec<String>,
    /// Keep the worst nodes in float until this share of samples keeps its class; judged on a quarter of --data, which is held back
    #[arg(long, value_name = "SHARE", value_parser = portion, requires = "data")]
    pub(crate) min_agreement: Option<String>,
    /// The same until accuracy falls by no more than this; without labels the share of changed classes stands for it, without
    /// classes the relative error of the outputs
    #[arg(long, value_name = "SHARE", value_parser = portion, requires = "data")]
    pub(crate) max_drop: Option<String>,
    /// Compare with another quantized file of the same model, on --data: size, divergence, agreement, which nodes
    #[arg(long, value_name = "OTHER", requires = "explain", requires = "data")]
    pub(crate) against: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: PruneTarget,
    /// Calibration samples, an npz file without labels: channels are chosen by them and what is left is repaired
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// How channels are ranked. obs: by what their readers lose after the best compensation · thinet: by what these lose without one
    /// · wanda: by weights times what they multiply · magnitude: by the norm of their weights [default: obs where a repair follows,
    /// thinet where none does, magnitude without samples]
    #[arg(long, value_parser = named::<Score>)]
    pub(crate) score: Option<String>,
    /// How the removal is spread over the layers. search: other counts are tried on the repaired model · sensitivity: by the
    /// divergence of the outputs, layer by layer · global: the lowest scores · uniform: the same share of each layer
    /// [default: search where a repair follows, else global]
    #[arg(long, value_parser = named::<Allocation>)]
    pub(crate) allocation: Option<String>,
    /// What brings the result back towards the original, without labels. least-squares: each layer is fitted again (seconds) ·
    /// distill: then all weights are trained to give the original's outputs (minutes) [default: least-squares where there are
    /// samples]. For --sparsity and --pattern, obs: zeros are chosen so that the weights left make up for them [default: obs where
    /// there are samples]
    #[arg(long, value_parser = repair)]
    pub(crate) repair: Option<String>,
    /// Layers that lose channels keep a multiple of N, as an executor's kernels like them; more may be removed than was asked for
    #[arg(long, value_name = "N", value_parser = number::<2, 1024>, conflicts_with_all = ["sparsity", "pattern"])]
    pub(crate) round_to: Option<usize>,
    /// Name of a node that keeps its channels; may be given more than once
    #[arg(long, value_name = "NODE")]
    pub(crate) exclude: Vec<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PruneTarget {
    /// Remove channels until this share of the multiply-accumulates is gone
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) remove_macs: Option<f64>,
    /// Remove channels until this share of the parameters is gone
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) remove_params: Option<f64>,
    /// Remove channels until the file is smaller by this share
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) remove_bytes: Option<f64>,
    /// Remove channels until one run takes no longer, measured here in the executor; counts are rounded to what kernels work in
    #[arg(long, value_name = "TIME", value_parser = named::<Milliseconds>, requires = "data")]
    pub(crate) max_latency: Option<String>,
    /// Set this share of the weights to zero: smaller when compressed, no faster
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) sparsity: Option<f64>,
    /// Keep at most N of each M weights along the input channels, such as 2:4: smaller when compressed, no faster
    #[arg(long, value_name = "N:M", value_parser = named::<Blocks>)]
    pub(crate) pattern: Option<String>,
}

/// A number between two others; clap has ranges for types of known width only.
fn number<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let n = text.parse::<usize>().map_err(|_| format!("`{text}` is no whole number"))?;
    if (LEAST..=MOST).contains(&n) { Ok(n) } else { Err(format!("it must lie between {LEAST} and {MOST}")) }
}

/// A time that can be waited for.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.01..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("it must lie between 0.01 and 86400".into()) }
}

/// A time in seconds: `90s`, `5m`, `1h`, or a plain number of seconds.
fn span(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 5] = [("min", 60.0), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, factor) = UNITS.iter().find_map(|(u, f)| Some((text.strip_suffix(u)?, *f))).unwrap_or((text, 1.0));
    let time = number.trim().parse::<f64>().map_err(|_| format!("`{text}` is no time: write 90s, 5m or 1h"))? * factor;
    if (0.01..=604_800.0).contains(&time) { Ok(time) } else { Err("it must lie between 10ms and 168h".into()) }
}

/// `1/3`: one of so many parts, from 1.
fn shard(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is no part: write 1/3 for the first of three");
    let (k, n) = text.split_once('/').ok_or_else(wrong)?;
    let (k, n) = (k.trim().parse().map_err(|_| wrong())?, n.trim().parse().map_err(|_| wrong())?);
    if (1..=n).contains(&k) { Ok((k, n)) } else { Err(wrong()) }
}

/// How much more there may be of something: `5%` or `0.05`.
fn increase(text: &str) -> Result<f64, String> {
    let (digits, unit) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |d| (d.trim_end(), 100.0));
    let share = digits.parse::<f64>().map_err(|_| format!("`{text}` is no share such as 5%"))? / unit;
    if (0.0..=10.0).contains(&share) { Ok(share) } else { Err("it must lie between 0% and 1000%".into()) }
}

/// `images=1x3x320x320`; names may hold `=`.
/// SHA-256 in hex, as releases are named by.
fn digest(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if good { Ok(text) } else { Err("a release digest has 64 hex digits; `verify` prints it".into()) }
}

fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || format!("`{text}` is no shape: write INPUT=1x3x224x224");
    let (name, dims) = text.rsplit_once('=').ok_or_else(wrong)?;
    let dims = dims.split(['x', ',']).map(|d| d.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok((name.to_owned(), dims))
}

/// A calibration method, its parameter after a colon.
fn calibration(text: &str) -> Result<String, String> {
    text.parse::<Calibration>().map(|c| c.to_string()).map_err(|e| e.to_string())
}

/// `99%` or `0.99`, both ends included.
fn portion(text: &str) -> Result<String, String> {
    text.parse::<Portion>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// One of a few names.
fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A repair of channels or of single weights; which one fits the target the recipe says.
fn repair(text: &str) -> Result<String, String> {
    let sparse = text.parse::<Compensation>().is_ok();
    if sparse { Ok(text.to_owned()) } else { named::<Repair>(text) }
}

/// `30%` or `0.3`.
fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |n| (n, 100.0));
    let value = number.trim().parse::<f64>().map_err(|_| format!("`{text}` is no share: write 30% or 0.3"))? / scale;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(format!("`{text}` does not lie between 0 and 100 %")) }
}

/// `accuracy-drop=0.5pp`, `auc-drop=0.005`.
fn margin(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("`{text}` is no margin: write accuracy-drop=0.5pp");
    let (metric, number) = text.split_once('=').ok_or_else(wrong)?;
    let points = number.strip_suffix("pp").or_else(|| number.strip_suffix('%'));
    let value = points.unwrap_or(number).trim().parse::<f64>().map_err(|_| wrong())?;
    let value = if points.is_some() { value / 100.0 } else { value };
    if value.is_finite() && value >= 0.0 { Ok((metric.to_owned(), value)) } else { Err(wrong()) }
}

#[derive(Debug, Args)]
pub(crate) struct Adapt {
    /// The new model, an ONNX file
    pub(crate) model: PathBuf,
    /// What the running pipeline delivers and reads
    #[arg(long, value_name = "TOML")]
    pub(crate) contract: PathBuf,
    /// Only say what fits, what can be adapted and what cannot; nothing is run or written
    #[arg(long, required_unless_present = "output", conflicts_with = "output")]
    pub(crate) check: bool,
    /// The adapted model to write
    #[arg(short, long, value_name = "ONNX")]
    pub(crate) output: Option<PathBuf>,
    /// Show the points that fit, too
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contract {
    /// Draft a contract from a model that runs today
    ///
    /// Names, dtypes and shapes are the model's; axes and meanings are what such shapes usually are, to be looked at. The model fits
    /// what is drafted from it. An existing file is never overwritten.
    #[command(after_help = "Example:\n  plimsoll contract init model.onnx --data test.npz -o contract.toml")]
    Init {
        /// The model, an ONNX file
        model: PathBuf,
        /// Samples of the pipeline, an npz file, for the ranges of inputs
        #[arg(long, value_name = "NPZ")]
        data: Option<PathBuf>,
        /// The file to write [default: stdout]
        #[arg(short, long, value_name = "TOML")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Optimize {
    /// The release spec
    pub(crate) spec: PathBuf,
    /// Folder for the models, the ranking and the report
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// How long the search may take, such as 90s, 5m or 1h: it ends earlier where nothing is left to try, and with the best so far at
    /// Ctrl-C. The judgement on the test data comes on top
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = span)]
    pub(crate) budget: f64,
    /// Carry out this recipe alone, the recipe.json of a search, and write winner.onnx: the same bytes as that search wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shard", "merge", "replay"])]
    pub(crate) recipe: Option<PathBuf>,
    /// Do the k-th of n parts of the work, such as 1/3, and keep what it finds in DIR/cache; no winner is chosen
    #[arg(long, value_name = "K/N", value_parser = shard)]
    pub(crate) shard: Option<(usize, usize)>,
    /// Rank what shards have found: the caches of all of them in DIR/cache. Nothing is searched any more
    #[arg(long, conflicts_with = "shard")]
    pub(crate) merge: bool,
    /// Repeat the search that DIR/search.json records, out of its figures: ranking.json comes out byte for byte
    #[arg(long, conflicts_with_all = ["shard", "merge"])]
    pub(crate) replay: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// The model, an ONNX file; or a release spec (a TOML file), which names a model, its test data and its endpoints
    #[arg(value_name = "MODEL|SPEC")]
    pub(crate) model: PathBuf,
    /// Labelled samples, an npz file: arrays named as the inputs, `label`, and `group` where samples are not independent; of a spec,
    /// its test data where none are given
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// A model to compare with: agreement and differences are taken on the same samples
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    /// A metric to take [default: all that apply]; may be given more than once
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Vec<String>,
    /// How much worse than the baseline the model may be, such as accuracy-drop=0.5pp; may be given more than once
    #[arg(long, value_name = "METRIC=MARGIN", value_parser = margin, requires = "baseline")]
    pub(crate) margin: Vec<(String, f64)>,
    /// Write the first output of every sample, one row each, as float64 to an npy file
    #[arg(long, value_name = "NPY")]
    pub(crate) save_scores: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) record: evidence::Record,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Release specs, TOML files
    #[arg(required = true, value_name = "SPEC")]
    pub(crate) specs: Vec<PathBuf>,
    /// Write a page as well
    #[arg(short, long, value_name = "HTML")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,
    /// A model to alternate with; the ratio is the median of paired runs
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    /// Samples to run on; without them, inputs are drawn
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// How much slower than the baseline the model may be: pass, fail (100) or inconclusive (102), and measuring ends when that is
    /// settled
    #[arg(long, value_name = "SHARE", requires = "baseline", value_parser = increase)]
    pub(crate) max_increase: Option<f64>,
    /// Samples in one run
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = number::<1, { usize::MAX }>)]
    pub(crate) batch: usize,
    /// Also measure how many samples a second so many sessions give that run at once, one thread each
    #[arg(long, value_name = "N", value_parser = number::<1, 1024>)]
    pub(crate) offline: Option<usize>,
    /// A command that makes the model's inputs of each sample, run by the shell: with it, or --after, the time end to end is taken as
    /// well. It is started once; for each sample it reads a line with names and then the arrays in npy format, one after the other,
    /// answers in the same way, and flushes
    #[arg(long, value_name = "COMMAND")]
    pub(crate) before: Option<String>,
    /// A command that takes the model's outputs, in the same way; its answer may be an empty line
    #[arg(long, value_name = "COMMAND")]
    pub(crate) after: Option<String>,
    /// Seconds from one inference of a stream to the next, for the real-time factor
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) hop: Option<f64>,
    /// Seconds that measuring may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: f64,
    #[command(flatten)]
    pub(crate) record: evidence::Record,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Models (ONNX files) or release specs (TOML files); with --changed-since release specs, or nothing for all that changed
    #[arg(required_unless_present = "changed_since")]
    pub(crate) targets: Vec<PathBuf>,
    /// Check the release specs that changed since a revision of git, in themselves or in a model, data, profile or contract that they
    /// name, against what they were there. A budget that the change loosens is judged as it was, too. Nothing is written to the
    /// work tree
    #[arg(long, value_name = "REV", conflicts_with_all = ["profile", "data"])]
    pub(crate) changed_since: Option<String>,
    /// Record the model's figures as the baseline that increases of counted figures are held against from now on, in history.jsonl
    /// beside the spec; commit it with the model
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) accept: Option<String>,
    /// Profile to hold a model against; a spec names its own. May be given more than once
    #[arg(long, value_name = "TOML")]
    pub(crate) profile: Vec<PathBuf>,
    /// Labelled samples for accuracy budgets of a model; a spec names its own
    #[arg(long, value_name = "NPZ")]
    pub(crate) data: Option<PathBuf>,
    /// The model that relative budgets compare with; of a spec, its own model where none is given
    #[arg(long, value_name = "MODEL")]
    pub(crate) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) evidence: evidence::Evidence,
    /// Only what can be counted on any machine: nothing is run
    #[arg(long)]
    pub(crate) cost_only: bool,
    /// Say how long it will hold, too: until how many devices (and when, at the growth that a profile states) the instances of today
    /// do, for how many releases that grow as this one the flash, for how many days the battery; and which listed type of instance is
    /// the cheapest
    #[arg(long)]
    pub(crate) forecast: bool,
    /// Seconds that timing may take
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) budget: f64,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub(crate) format: Format,
    /// Write the report to a file instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What an inconclusive budget means for the exit code
    #[arg(long, value_enum, default_value_t = OnInconclusive::Fail)]
    pub(crate) on_inconclusive: OnInconclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table, and every violated budget with its line
    Terminal,
    /// plimsoll.report/1; of several models, or with --changed-since, plimsoll.check/1
    Json,
    /// A comment for a pull request, of less than 65,000 characters
    Markdown,
    /// Annotations for GitHub
    Github,
    /// JUnit XML
    Junit,
    /// SARIF 2.1.0
    Sarif,
    /// One page for a browser, which needs nothing but itself
    Html,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInconclusive {
    /// Exit code 102
    Fail,
    /// A warning
    Warn,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The release spec [default: plimsoll.toml here, else the shipped fixtures/sleep-wake/plimsoll.toml]
    pub(crate) spec: Option<PathBuf>,
    /// Folder for keys, releases and repositories [default: .plimsoll]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How long the search may take, such as 90s or 5m; it ends earlier where nothing is left to try
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = span)]
    pub(crate) budget: f64,
    /// Do everything but write the release, change the repository and push
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Sign with this key instead of trial keys: ECDSA P-256 in PKCS#8 PEM, plain or encrypted, which its owner alone may read, or a
    /// `pkcs11:` URI. A passphrase or PIN comes by PLIMSOLL_PASSPHRASE, PLIMSOLL_PIN, or a prompt. The release is then no trial,
    /// and is put into no channel
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// With --key: digest of the release that this one replaces and falls back to
    #[arg(long, value_name = "DIGEST", requires = "key", value_parser = digest)]
    pub(crate) parent: Option<String>,
    /// Push the release to a registry, such as oci://registry.example/sleep-wake:1.4.0, as a ModelPack artifact with its signature;
    /// credentials come by PLIMSOLL_REGISTRY_USER and PLIMSOLL_REGISTRY_PASSWORD
    #[arg(long, value_name = "OCI")]
    pub(crate) push: Option<String>,
    /// Write a dossier of the release, in Markdown: the trace from requirements and risks to gates and evidence, known anomalies,
    /// dependencies; to stdout without =FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) dossier: Option<Option<PathBuf>>,
    /// Make no new release; push this folder, or write its dossier
    #[arg(long, value_name = "DIR", conflicts_with_all = ["spec", "key"])]
    pub(crate) from: Option<PathBuf>,
    /// Make no new release; build the payload of this folder again from the spec and the recorded evidence, and say whether it is
    /// the same byte for byte. Ends with 98 and the first difference where it is not
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "push", "dossier", "from", "dry_run"])]
    pub(crate) reproduce: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A release folder, a repository (a folder, s3://BUCKET/PREFIX, https://HOST/PATH), or a release in a registry
    /// (oci://HOST/REPOSITORY:TAG)
    pub(crate) target: PathBuf,
    /// What is demanded besides, in TOML: gates that were passed, a commit, signers, coverage (docs/releasing.md)
    #[arg(long, value_name = "TOML")]
    pub(crate) policy: Option<PathBuf>,
    /// Public key that the release must be signed with [default: the one beside the release]
    #[arg(long, value_name = "PEM")]
    pub(crate) public_key: Option<PathBuf>,
    /// Trusted root metadata of the repository [default: its own first root]
    #[arg(long, value_name = "JSON")]
    pub(crate) root: Option<PathBuf>,
    /// Folder that remembers what was seen of the repository: an older state than that is refused
    #[arg(long, value_name = "DIR")]
    pub(crate) memory: Option<PathBuf>,
    /// Verify as a production client does: repositories marked `trial` are refused
    #[arg(long)]
    pub(crate) production: bool,
}

/// Which repository.
#[derive(Debug, Args)]
pub(crate) struct Repository {
    /// The release's name, where there are several repositories
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The repository: a folder, s3://BUCKET/PREFIX, or (to read) https://HOST/PATH [default: .plimsoll/repository/NAME]
    #[arg(long, value_name = "DIR|URL", conflicts_with = "name")]
    pub(crate) repository: Option<PathBuf>,
    /// Folder of the keys to sign with [default: the trial keys that were made with the repository]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
}
