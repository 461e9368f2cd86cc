//! `Pad` with zeros folded into the convolution after it.

use plimsoll_onnx::{Model, Patch, View, attr, node, proto::NodeProto};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

pub(super) struct Pads;

impl Pass for Pads {
    fn name(&self) -> &'static str {
        "pads"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let mut patch = Patch::new();
        for (id, conv) in view.nodes().filter(|(_, n)| node::is(n, "Conv")) {
            let Some(input) = node::input(conv, 0) else { continue };
            let Some((pad_id, pad)) = view.producer_of(input, "Pad") else { continue };
            if view.sole_user(input).is_none() {
                continue;
            }
            let Some((source, pads)) = folded(&view, pad, conv) else { continue };
            let mut changed = conv.clone();
            changed.input[0] = source;
            attr::set(&mut changed, attr::from_ints("pads", &pads));
            attr::remove(&mut changed, "auto_pad");
            patch.because(format!("{} goes into {}", node::label(pad), node::label(conv)));
            patch.replace(id, vec![changed]).remove(pad_id);
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// The value before the padding, and the sum of both paddings.
fn folded(view: &View<'_>, pad: &NodeProto, conv: &NodeProto) -> Option<(String, Vec<i64>)> {
    let list = |name: &str, slot: usize| match attr::ints(pad, name) {
        Some(list) => Some(list.to_vec()),
        None => common::constant(view, node::input(pad, slot)?)?.to_i64().ok(),
    };
    let zero = match node::input(pad, 2) {
        Some(value) => common::constant(view, value)?.to_f64().ok()?.iter().all(|&v| v == 0.0),
        None => attr::float(pad, "value").unwrap_or(0.0) == 0.0,
    };
    let constant = attr::string(pad, "mode").unwrap_or("constant") == "constant";
    let auto = attr::string(conv, "auto_pad").unwrap_or("NOTSET");
    if !zero || !constant || !matches!(auto, "NOTSET" | "VALID") || node::input(pad, 3).is_some() {
        return None;
    }
    let more = list("pads", 1)?;
    let rank = more.len() / 2;
    let spatial = rank.checked_sub(2)?;
    let own = if auto == "VALID" { None } else { attr::ints(conv, "pads") };
    let own = own.map_or_else(|| vec![0; 2 * spatial], <[i64]>::to_vec);
    let on_data = [more[0], more[1], more[rank], more[rank + 1]];
    if on_data != [0; 4] || more.iter().any(|&p| p < 0) || own.len() != 2 * spatial {
        return None;
    }
    let begin = more[2..rank].iter().zip(&own[..spatial]);
    let end = more[rank + 2..].iter().zip(&own[spatial..]);
    let sums: Option<Vec<i64>> = begin.chain(end).map(|(a, b)| a.checked_add(*b)).collect();
    Some((node::input(pad, 0)?.to_owned(), sums?))
}
