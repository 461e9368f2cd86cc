//! Arguments of the verbs that make a model of a model.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use plimsoll_transform::prune::{Allocation, Blocks, Milliseconds, Score};

use super::values::{calibration, named, number, portion, repair, shard, share, span};

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
