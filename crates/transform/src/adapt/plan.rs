//! What has to be done so that a model fits: for each input and output a list of steps.

use plimsoll_onnx::DType;
use plimsoll_profile::{Axis, Dim};

use super::steps::{self, Step};

/// Everything that an adapter does.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) inputs: Vec<InputPlan>,
    pub(super) outputs: Vec<OutputPlan>,
    /// What the adapted model takes.
    pub(super) takes: Vec<Port>,
    /// What it gives.
    pub(super) gives: Vec<Port>,
}

/// An input or output of the adapted model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) dims: Vec<Dim>,
}

/// One input of the model.
#[derive(Debug)]
pub(super) struct InputPlan {
    /// The model's name for it.
    pub(super) model: String,
    pub(super) dtype: DType,
    /// Each with the pipeline's name, in the order in which they are joined.
    pub(super) sources: Vec<(String, Vec<Box<dyn Step>>)>,
    /// The axis along which several are joined.
    pub(super) along: usize,
}

/// One output of the pipeline.
#[derive(Debug)]
pub(super) struct OutputPlan {
    pub(super) model: String,
    pub(super) pipeline: String,
    pub(super) dtype: DType,
    pub(super) steps: Vec<Box<dyn Step>>,
}

impl Plan {
    /// Every step in words, by the input or output that it is for.
    pub fn steps(&self) -> Vec<(String, String)> {
        let inputs = self.inputs.iter().flat_map(|input| {
            let joined = (input.sources.len() > 1).then(|| {
                let names: Vec<&str> = input.sources.iter().map(|(name, _)| name.as_str()).collect();
                (input.model.clone(), format!("join {}", names.join(", ")))
            });
            let steps = input.sources.iter().flat_map(|(from, steps)| {
                let label = if *from == input.model { from.clone() } else { format!("{from} → {}", input.model) };
                steps.iter().map(move |s| (label.clone(), s.what()))
            });
            steps.chain(joined)
        });
        let outputs = self.outputs.iter().flat_map(|output| {
            let same = output.model == output.pipeline;
            let label = if same { output.model.clone() } else { format!("{} → {}", output.model, output.pipeline) };
            output.steps.iter().map(move |s| (label.clone(), s.what()))
        });
        inputs.chain(outputs).collect()
    }

    /// Whether nothing has to be computed: at most names change.
    pub(super) fn only_renames(&self) -> bool {
        self.inputs.iter().all(|i| i.sources.len() == 1 && i.sources.iter().all(|(_, s)| s.is_empty()))
            && self.outputs.iter().all(|o| o.steps.is_empty())
    }
}

/// A value on its way, with what is known of it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) axes: Vec<Axis>,
    pub(super) dims: Vec<Dim>,
    pub(super) dtype: DType,
    pub(super) steps: Vec<Box<dyn Step>>,
}

impl Way {
    pub(super) fn axis(&self, axis: Axis) -> Option<usize> {
        self.axes.iter().position(|a| *a == axis)
    }

    pub(super) fn length(&self, axis: Axis) -> Option<u64> {
        match self.dims.get(self.axis(axis)?)? {
            Dim::Fixed(n) => Some(*n),
            Dim::Named(_) => None,
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    pub(super) fn push(&mut self, step: impl Step + 'static) {
        self.steps.push(Box::new(step));
    }

    pub(super) fn cast(&mut self, to: DType) {
        if self.dtype != to {
            self.push(steps::Cast { from: self.dtype, to });
            self.dtype = to;
        }
    }

    /// The dimensions for a reshape; `None` where more than one is open.
    pub(super) fn open_dims(&self) -> Option<Vec<i64>> {
        open_dims(&self.dims)
    }

    /// Brings axes that are in both into the order of the second, drops and adds axes of length 1, and joins or parts features. Why
    /// not, where it cannot be.
    pub(super) fn lay_out(&mut self, axes: &[Axis], lengths: &[Option<u64>]) -> Result<(), String> {
        let length = |axis: Axis| axes.iter().position(|a| *a == axis).and_then(|i| lengths.get(i).copied().flatten());
        let extra: Vec<Axis> = self.axes.iter().copied().filter(|a| !axes.contains(a)).collect();
        let lacking: Vec<Axis> = axes.iter().copied().filter(|a| !self.axes.contains(a)).collect();
        let own = |axis: &Axis| self.length(*axis);
        let flattens = lacking == [Axis::Feature] && extra.len() > 1;
        let parts = extra == [Axis::Feature] && lacking.len() > 1;
        let order: Vec<usize> = if flattens {
            // The joined axes stay in their order, where the features are to be.
            let of = |a: &Axis| if *a == Axis::Feature { extra.clone() } else { vec![*a] };
            axes.iter().flat_map(of).filter_map(|a| self.axis(a)).collect()
        } else if parts {
            let mut seen = false;
            let of = |a: &Axis| match self.axis(*a) {
                Some(i) => Some(i),
                None if seen => None,
                None => {
                    seen = true;
                    self.axis(Axis::Feature)
                }
            };
            axes.iter().filter_map(of).collect()
        } else {
            if let Some(axis) = extra.iter().find(|a| own(a) != Some(1)) {
                return Err(format!("the model has no axis `{axis}`"));
            }
            if let Some(axis) = lacking.iter().find(|a| length(**a).is_some_and(|n| n != 1)) {
                return Err(format!("the pipeline has no axis `{axis}`"));
            }
            let kept = axes.iter().filter_map(|a| self.axis(*a));
            kept.chain(extra.iter().filter_map(|a| self.axis(*a))).collect()
        };
        if flattens || parts {
            let product =
                |list: &[Axis], of: &dyn Fn(Axis) -> Option<u64>| list.iter().try_fold(1, |n, a| Some(n * of(*a)?));
            let had = product(&extra, &|a| self.length(a));
            let wanted = product(&lacking, &length);
            if had.is_none() || had != wanted {
                let words = |list: &[Axis]| list.iter().map(|a| a.word()).collect::<Vec<_>>().join(", ");
                let n = |n: Option<u64>| n.map_or("an open number of".into(), |n| n.to_string());
                return Err(format!(
                    "{} numbers along {} are not {} along {}",
                    n(had),
                    words(&extra),
                    n(wanted),
                    words(&lacking)
                ));
            }
        }
        // Axes of length 1 move freely, so that no data do.
        let moved: Vec<usize> = order.iter().copied().filter(|&i| self.dims[i] != Dim::Fixed(1)).collect();
        if !moved.is_sorted() {
            self.axes = order.iter().map(|&i| self.axes[i]).collect();
            self.dims = order.iter().map(|&i| self.dims[i].clone()).collect();
            self.push(steps::Transpose { perm: order });
        }
        if self.axes != axes {
            let dims: Vec<Dim> = axes
                .iter()
                .map(|a| match self.axis(*a) {
                    Some(i) => self.dims[i].clone(),
                    None => Dim::Fixed(length(*a).unwrap_or(1)),
                })
                .collect();
            let open = self.dims.iter().position(|d| matches!(d, Dim::Named(_)));
            (self.axes, self.dims) = (axes.to_vec(), dims);
            let mut dims = self.open_dims().ok_or("more than one dimension is open")?;
            steps::copy_open(&mut dims, open);
            self.push(steps::Reshape { dims });
        }
        Ok(())
    }
}

fn open_dims(dims: &[Dim]) -> Option<Vec<i64>> {
    let one = |d: &Dim| match d {
        Dim::Fixed(n) => *n as i64,
        Dim::Named(_) => -1,
    };
    let dims: Vec<i64> = dims.iter().map(one).collect();
    (dims.iter().filter(|d| **d < 0).count() <= 1).then_some(dims)
}
