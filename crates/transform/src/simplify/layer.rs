//! Layers with constant weights, and what can be done to their outputs by changing these weights alone.

use plimsoll_onnx::{DType, Names, Patch, Tensor, View, attr, node, proto::NodeProto, shape::Shapes};

use super::common;

/// A layer with constant float32 weights, channel by channel of its output.
pub(super) struct Layer<'m> {
    node: &'m NodeProto,
    shape: Vec<usize>,
    weight: Tensor,
    bias: Option<Vec<f64>>,
    /// Output channels.
    channels: usize,
    /// The rank of the output, and the axis of it that counts the channels.
    rank: usize,
    pub(super) axis: usize,
    of: ChannelOf,
}

/// How the position of an element of the weight says which output channel it belongs to.
#[derive(Clone, Copy)]
enum ChannelOf {
    /// `[M, …]`: so many elements a channel, one after another.
    Blocks(usize),
    /// `[…, M]`: the last axis.
    Last(usize),
    /// `[C, M / group, k…]`: the first axis runs over the groups as well.
    Transposed { per_group: usize, rest: usize, inputs_per_group: usize },
}

impl ChannelOf {
    fn at(self, i: usize) -> usize {
        match self {
            Self::Blocks(each) => i / each,
            Self::Last(channels) => i % channels,
            Self::Transposed { per_group, rest, inputs_per_group } => {
                let (row, column) = (i / (per_group * rest), i / rest % per_group);
                row / inputs_per_group * per_group + column
            }
        }
    }
}

/// A layer's new weights.
pub(super) struct Changed {
    /// `None` where they stay what they are.
    weight: Option<Tensor>,
    /// `None` where there was none and nothing is added.
    bias: Option<Tensor>,
}

impl Changed {
    /// Adds the new weights to a patch and gives the layer that reads them.
    pub(super) fn put(self, layer: &Layer<'_>, output: &str, names: &mut Names, patch: &mut Patch) -> NodeProto {
        let base = node::input(layer.node, 1).unwrap_or_default();
        let mut put = |tensor: Option<Tensor>, what: &str| {
            let tensor = tensor?;
            let name = names.fresh(&format!("{base}_{what}"));
            patch.set_initializer(&name, &tensor);
            Some(name)
        };
        let (weight, bias) = (put(self.weight, "folded"), put(self.bias, "bias"));
        layer.with(weight.as_deref(), bias.as_deref(), output)
    }
}

impl<'m> Layer<'m> {
    /// A convolution, or a product of which the weights come second and count outputs along one axis.
    pub(super) fn of(view: &View<'_>, shapes: &Shapes, layer: &'m NodeProto) -> Option<Self> {
        if !node::is_default_domain(&layer.domain) {
            return None;
        }
        let float = |name: Option<&str>| common::constant(view, name?).filter(|t| t.dtype() == DType::F32);
        let weight = float(node::input(layer, 1))?;
        let shape = weight.shape().to_vec();
        let rest = || shape.get(2..).map(|s| s.iter().product::<usize>().max(1));
        let rank = shape.len();
        let (channels, rank, axis, of) = match layer.op_type.as_str() {
            "Conv" => {
                let each = shape.get(1..)?.iter().product::<usize>().max(1);
                (*shape.first()?, rank, 1, ChannelOf::Blocks(each))
            }
            "ConvTranspose" => {
                let group = usize::try_from(attr::int(layer, "group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
                let per_group = (*shape.get(1)?).max(1);
                let inputs_per_group = (shape[0] / group).max(1);
                let of = ChannelOf::Transposed { per_group, rest: rest()?, inputs_per_group };
                (per_group.checked_mul(group)?, rank, 1, of)
            }
            "Gemm" if rank == 2 && plain_gemm(layer) => {
                if attr::flag(layer, "transB", false)? {
                    (shape[0], 2, 1, ChannelOf::Blocks(shape[1].max(1)))
                } else {
                    (shape[1], 2, 1, ChannelOf::Last(shape[1].max(1)))
                }
            }
            "MatMul" if rank == 2 => {
                let rank = shapes.dims(node::input(layer, 0)?)?.len();
                (shape[1], rank, rank.checked_sub(1)?, ChannelOf::Last(shape[1].max(1)))
            }
            _ => return None,
        };
        if weight.shape().contains(&0) || of.at(shape.iter().product::<usize>() - 1) + 1 != channels {
            return None;
        }
        let bias = match node::input(layer, 2) {
            None => None,
            name => Some(float(name)?.to_f64().ok().filter(|b| b.len() == channels)?),
        };
        Some(Self { node: layer, shape, weight, bias, channels, rank, axis, of })
    }

    /// Whether the layer can hold a bias: every one but `MatMul`, which becomes a `Gemm` where its input is a matrix.
    fn takes_bias(&self) -> bool {
        self.node.op_type != "MatMul" || self.rank == 2
    }

    /// Weights with which the layer computes `scale · y + shift` instead of `y`, channel by channel.
    pub(super) fn changed(&self, scale: &[f64], shift: &[f64]) -> Option<Changed> {
        let same = scale.iter().all(|&s| s == 1.0);
        let added = shift.iter().any(|&s| s != 0.0);
        if scale.len() != self.channels || shift.len() != self.channels || (added && !self.takes_bias()) {
            return None;
        }
        let weight = if same {
            None
        } else {
            let values = self.weight.to_f64().ok()?.into_iter().enumerate();
            let values: Vec<f32> = values.map(|(i, w)| (w * scale[self.of.at(i)]) as f32).collect();
            Some(Tensor::from_elements(&self.shape, &values).ok().filter(Tensor::is_finite)?)
        };
        let bias = if self.bias.is_some() || added {
            let of = |c: usize| self.bias.as_ref().map_or(0.0, |b| b[c]);
            let values: Vec<f32> = (0..self.channels).map(|c| (of(c) * scale[c] + shift[c]) as f32).collect();
            Some(Tensor::vector(&values)).filter(Tensor::is_finite).map(Some)?
        } else {
            None
        };
        Some(Changed { weight, bias })
    }

    /// The layer with other weights, giving `output`.
    fn with(&self, weight: Option<&str>, bias: Option<&str>, output: &str) -> NodeProto {
        let mut changed = self.node.clone();
        if let Some(bias) = bias {
            changed.input.resize(3, String::new());
            changed.input[2] = bias.into();
            if changed.op_type == "MatMul" {
                changed.op_type = "Gemm".into();
            }
        }
        if let (Some(weight), Some(slot)) = (weight, changed.input.get_mut(1)) {
            *slot = weight.into();
        }
        changed.output = vec![output.into()];
        changed
    }

    /// A constant operand as one number a channel, where it broadcasts over everything else and does not widen the output.
    pub(super) fn per_channel(&self, operand: &Tensor) -> Option<Vec<f64>> {
        let shape = operand.shape();
        let offset = self.rank.checked_sub(shape.len())?;
        let at_channel = |(i, &d): (usize, &usize)| d == 1 || (i + offset == self.axis && d == self.channels);
        if operand.dtype() != DType::F32 || !shape.iter().enumerate().all(at_channel) {
            return None;
        }
        let values = operand.to_f64().ok()?;
        if values.len() == 1 { Some(vec![values[0]; self.channels]) } else { Some(values) }
    }
}

fn plain_gemm(n: &NodeProto) -> bool {
    attr::float(n, "alpha").unwrap_or(1.0) == 1.0
        && attr::float(n, "beta").unwrap_or(1.0) == 1.0
        && attr::flag(n, "transA", false) == Some(false)
}
