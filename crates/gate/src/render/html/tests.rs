//! What a page must be whatever it shows: whole, closed to the network, usable without eyes, and proof against hostile names.

use plimsoll_record::{
    AbsentWeight, BodyCost, Check, Choice, EndpointShift, Forecast, GroupShift, Inspection, MacsByDtype, Miss,
    NodeCost, NodeSensitivity, OutputDamage, PassRecord, RankedCandidate, Ranking, Recipe, Report, Row, Totals, Until,
    Value, Verdict,
};

use super::{Anatomy, Page, html};
use crate::render::tests::{change, figure};

fn node(name: &str, macs: Option<u64>) -> NodeCost {
    let shape = Some(vec![1, 8, 60]);
    NodeCost { name: name.into(), op: "Conv".into(), macs, params: 10, bytes: 40, shape, ..NodeCost::default() }
}

/// A node with a graph inside.
fn branch() -> NodeCost {
    let body = BodyCost { name: "then".into(), runs: Some(1), nodes: vec![node("inner", Some(7))] };
    NodeCost { op: "If".into(), counted: "dearest-branch".into(), bodies: vec![body], ..node("choice", Some(7)) }
}

fn inspection(digest: &str, macs: u64) -> Inspection {
    Inspection {
        schema: "plimsoll.inspect/1".into(),
        model: "model.onnx".into(),
        model_digest: digest.into(),
        file_bytes: macs,
        ir_version: 8,
        opset: vec!["ai.onnx:17".into()],
        producer: "test".into(),
        batch: 1,
        inputs: vec![Value { name: "x".into(), dtype: "float32".into(), shape: vec!["batch".into()] }],
        outputs: vec![],
        nodes: (0..20)
            .map(|i| node(&format!("conv{i}"), (i != 3).then_some(macs / (i + 1))))
            .chain([branch()])
            .collect(),
        totals: Totals {
            macs,
            params: 200,
            bytes: 800,
            peak_activation_bytes: Some(4096),
            unknown_nodes: 1,
            loaded_bytes: Some(macs / 10),
            macs_by_dtype: MacsByDtype { f32: macs, ..MacsByDtype::default() },
            ..Totals::default()
        },
        absent: vec![AbsentWeight { name: "w7".into(), reason: "weights.bin".into() }],
        ..Inspection::default()
    }
}

fn candidate(name: &str, verdict: Verdict, bytes: f64, drop: f64) -> RankedCandidate {
    let figures = vec![
        figure("artifact-size", "bytes", bytes, None),
        figure("latency.ratio", "ratio", bytes / 1e5, Some([bytes / 2e5, bytes / 1e5])),
        figure("accuracy-drop", "share", drop, Some([drop - 0.01, drop + 0.01])),
    ];
    let (recipe, refused) = (Recipe::new(name, vec![]), Some("`macs` is over its budget".into()));
    let pass = PassRecord {
        pass: "quantize".into(),
        outcome: "applied".into(),
        reasons: vec!["all weights".into()],
        nodes: [20, 22],
        bytes: [300, 100],
    };
    let (passes, misses) = (vec![pass], vec![]);
    let (stage, damage, score, front) = (None, None, None, false);
    let model_digest = "sha256:1".into();
    RankedCandidate { recipe, model_digest, stage, passes, damage, figures, score, front, verdict, misses, refused }
}

/// Something of everything, in two reports.
fn everything() -> (Check, Vec<Anatomy>, Ranking) {
    let mut check = change();
    check.reports[0].endpoints = vec![EndpointShift {
        name: "total-sleep-time".into(),
        what: "time in class `sleep`".into(),
        groups: 24,
        worst: vec![
            GroupShift { group: 3, model: 27_000.0, baseline: 25_200.0 },
            GroupShift { group: 9, model: 21_000.0, baseline: 21_300.0 },
        ],
        never_in_model: vec![7],
        never_in_baseline: vec![],
        needed: vec![],
    }];
    check.reports[0].forecast = vec![Forecast {
        profile: "bed".into(),
        subject: "instances".into(),
        value: Some(12_000.0),
        interval: Some([11_000.0, 13_000.0]),
        unit: "devices".into(),
        basis: "measured".into(),
        until: Some(Until { day: "2031-04-30".into(), interval: None }),
        method: "at 20 % more devices a year".into(),
    }];
    let mut other = check.reports[0].clone();
    other.changes = None;
    check.reports.push(other);
    let damage = OutputDamage { divergence: Some(1e-3), agreement: Some(0.99), sqnr: Some(30.0), samples: 12 };
    let sensitive = |i: usize| NodeSensitivity {
        nodes: vec![format!("conv{i}")],
        exclude: vec![format!("y{i}")],
        operators: vec!["Conv".into()],
        bytes_saved: 100 - i as i64 * 10,
        damage: OutputDamage { sqnr: (i != 0).then_some(20.0 + i as f64), ..damage.clone() },
    };
    let anatomy = Anatomy {
        model: Some(inspection("sha256:8f85726506aeb92a", 1_000_000)),
        baseline: Some(inspection("sha256:baseline", 1_500_000)),
        sensitivity: (0..15).map(sensitive).collect(),
    };
    let worse = |i: u32| candidate(&format!("worse-{i}"), Verdict::Fail, 9.5e4 + f64::from(i), 0.01);
    let best = [candidate("int8", Verdict::Pass, 5e4, 0.002), candidate("f16", Verdict::Inconclusive, 9e4, 0.0)];
    let ranking = Ranking {
        schema: "plimsoll.ranking/1".into(),
        objective: "artifact-size".into(),
        winner: Some("int8".into()),
        candidates: best.into_iter().chain((0..25).map(worse)).collect(),
        choices: vec![],
        complete: true,
        judged: vec![],
    };
    (check, vec![anatomy.clone(), anatomy], ranking)
}

fn page(check: &Check, anatomies: &[Anatomy], ranking: &Ranking) -> String {
    html(&Page { check, anatomies, ranking: Some(ranking) })
}

fn whole() -> String {
    let (check, anatomies, ranking) = everything();
    page(&check, &anatomies, &ranking)
}

/// The tags in their order, each with what is in its attributes.
fn tags(page: &str) -> Vec<&str> {
    let body = page.split_once("</style>").map_or(page, |(_, body)| body);
    body.split('<').skip(1).filter_map(|t| Some(t.split_once('>')?.0)).collect()
}

fn element(tag: &str) -> &str {
    tag.split([' ', '\n']).next().unwrap_or_default()
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    tag.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| Some(rest.split_once('"')?.0))
}

/// Headings, captions and what is told of pictures, in their order.
fn structure(page: &str) -> String {
    let plain = |text: &str| {
        let mut out = String::new();
        for part in text.split('<') {
            out.push_str(part.split_once('>').map_or(part, |(_, after)| after));
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut lines = Vec::new();
    for (at, _) in page.match_indices('<') {
        let tag = page[at + 1..].split('>').next().unwrap_or_default();
        let kind = element(tag);
        match kind {
            "h1" | "h2" | "h3" | "h4" | "caption" | "summary" | "figcaption" => {
                let inner = page[at + tag.len() + 2..].split(&format!("</{kind}>")).next().unwrap_or_default();
                lines.push(format!("{kind:10} {}", plain(inner)));
            }
            "header" | "nav" | "main" | "footer" => lines.push(kind.to_owned()),
            _ if attribute(tag, "role") == Some("img") => {
                lines.push(format!("{:10} {}", "picture", attribute(tag, "aria-label").unwrap_or_default()));
            }
            _ => {}
        }
    }
    lines.join("\n")
}

#[test]
fn a_page_has_its_sections_in_order() {
    let (mut check, anatomies, ranking) = everything();
    check.reports.truncate(1);
    check.faults.clear();
    insta::assert_snapshot!("html_structure", structure(&page(&check, &anatomies, &ranking)));
}

#[test]
fn headings_skip_no_level_and_everything_that_is_referred_to_is_there() {
    let page = whole();
    let tags = tags(&page);
    let mut level = 0;
    for heading in tags.iter().filter_map(|t| element(t).strip_prefix('h')?.parse::<usize>().ok()) {
        assert!(heading <= level + 1, "h{heading} follows h{level}");
        level = heading;
    }
    let mut ids: Vec<&str> = tags.iter().filter_map(|t| attribute(t, "id")).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is given twice");
    let referred =
        tags.iter().filter_map(|t| attribute(t, "aria-labelledby").or(attribute(t, "href")?.strip_prefix('#')));
    for id in referred.flat_map(|ids| ids.split(' ')) {
        assert!(ids.binary_search(&id).is_ok(), "nothing has the id {id}");
    }
}

#[test]
fn tables_have_captions_and_scopes_and_pictures_have_words() {
    let page = whole();
    let tags = tags(&page);
    let count = |wanted: &str| tags.iter().filter(|t| element(t) == wanted).count();
    assert!(count("table") > 10 && count("table") == count("caption"));
    assert!(tags.iter().filter(|t| element(t) == "th").all(|t| attribute(t, "scope").is_some()));
    for svg in tags.iter().filter(|t| element(t) == "svg") {
        let said = attribute(svg, "role") == Some("img") && attribute(svg, "aria-label").is_some_and(|l| !l.is_empty());
        assert!(said || attribute(svg, "aria-hidden") == Some("true"), "{svg}");
    }
}

#[test]
fn every_element_that_is_opened_is_closed() {
    const VOID: [&str; 4] = ["meta", "link", "wbr", "br"];
    let page = whole();
    // Opened before the style.
    let mut open = vec!["html", "head"];
    for tag in tags(&page) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{open:?}"),
            None if tag.ends_with('/') || VOID.contains(&element(tag)) => {}
            None => open.push(element(tag)),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_asks_for_nothing() {
    let page = whole();
    assert!(page.contains("default-src 'none'"));
    for request in ["http:", "https:", "//", "url(", "@import", "src=", "<script", "<img", "<iframe", "srcset"] {
        assert!(!page.contains(request), "{request}");
    }
    for tag in tags(&page) {
        let outside_quotes: String = tag.split('"').step_by(2).collect();
        assert!(!outside_quotes.contains(" on"), "a handler in {tag}");
    }
    for link in tags(&page).iter().filter_map(|t| attribute(t, "href")) {
        assert!(link.starts_with('#') || link == "data:,", "{link}");
    }
}

/// Puts a text for every text of a document that is somebody's choice.
fn replace(value: &mut serde_json::Value, text: &str) {
    // What is chosen from a list by the program, not by anybody.
    const OURS: [&str; 7] = ["schema", "verdict", "level", "unit", "side", "found", "basis"];
    match value {
        serde_json::Value::String(s) => *s = text.into(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, text)),
        serde_json::Value::Object(map) => {
            for (_, inner) in map.iter_mut().filter(|(key, _)| !OURS.contains(&key.as_str())) {
                replace(inner, text);
            }
        }
        _ => {}
    }
}

macro_rules! hostile {
    ($document:expr, $text:expr) => {{
        let mut value = serde_json::to_value($document).unwrap();
        replace(&mut value, $text);
        serde_json::from_value(value).unwrap()
    }};
}

#[test]
fn hostile_names_make_no_tag_and_leave_no_attribute() {
    let (check, anatomies, ranking) = everything();
    let of = |text: &str| {
        let dress = |a: &Anatomy| Anatomy {
            model: a.model.as_ref().map(|m| hostile!(m, text)),
            baseline: a.baseline.as_ref().map(|m| Inspection { model_digest: "other".into(), ..hostile!(m, text) }),
            sensitivity: hostile!(&a.sensitivity, text),
        };
        let anatomies: Vec<Anatomy> = anatomies.iter().map(dress).collect();
        page(&hostile!(&check, text), &anatomies, &hostile!(&ranking, text))
    };
    // As many separators, so that as many breaks are offered.
    let benign = of("xxxxxxxxxxxxxx//xxxxxxxxxxxxxx-xxxxx/xxxxx");
    let shape = |page: &str| tags(page).iter().map(|t| element(t).to_owned()).collect::<Vec<_>>();
    for text in [
        "\"'><script>alert(1)//</script><a-b c=/title",
        "--></style></title></svg>]]>\u{202e}\"onload=\"x//",
        &format!("{}//-/{}", "<&\"'".repeat(4_000), "\u{2066}"),
    ] {
        let page = of(text);
        assert!(!page.contains("<script") && !page.contains(['\u{202e}', '\u{2066}', '\u{0}']), "{text:.40}");
        let (found, expected) = (shape(&page), shape(&benign));
        let without_breaks = |tags: &[String]| tags.iter().filter(|t| *t != "wbr").cloned().collect::<Vec<_>>();
        assert_eq!(without_breaks(&found), without_breaks(&expected), "{text:.40}");
        assert!(page.len() < 10 * benign.len(), "{} bytes of {}", page.len(), benign.len());
    }
}

#[test]
fn figures_without_bounds_draw_no_nonsense() {
    let (mut check, anatomies, mut ranking) = everything();
    let extremes = [0.0, -0.0, f64::MAX, f64::MIN, 1e-300, -5.0];
    for (i, row) in check.reports[0].rows.iter_mut().enumerate() {
        let load = row.load.as_mut().unwrap();
        (load.limit, load.value) = (extremes[i % 6], Some(extremes[(i + 2) % 6]));
        load.interval = (i % 2 == 0).then_some([f64::MIN, f64::MAX]);
    }
    for (i, candidate) in ranking.candidates.iter_mut().enumerate() {
        for figure in &mut candidate.figures {
            (figure.value, figure.interval) = (extremes[i % 6], None);
        }
    }
    check.reports[0].trend[0].points[0].value = f64::MAX;
    check.reports[0].endpoints[0].worst[0].model = 1e300;
    let page = page(&check, &anatomies, &ranking);
    for nonsense in ["NaN", "inf", "∞"] {
        assert!(
            !page.split("</style>").nth(1).unwrap().replace("info", "").contains(&format!("\"{nonsense}")),
            "{nonsense}"
        );
        for tag in tags(&page).iter().filter(|t| ["path", "circle", "rect", "text", "g"].contains(&element(t))) {
            assert!(!tag.contains(nonsense), "{tag}");
        }
    }
}

#[test]
fn a_report_says_whose_it_is_where_something_else_could_not_be_checked() {
    let (mut check, anatomies, ranking) = everything();
    check.reports.truncate(1);
    let titled =
        |check: &Check| structure(&page(check, &anatomies, &ranking)).contains("h2         fail bed/model.onnx");
    assert!(titled(&check));
    check.faults.clear();
    assert!(!titled(&check));
}

#[test]
fn what_only_warns_stands_in_nobodys_way() {
    let (mut check, ..) = everything();
    check.faults.clear();
    for row in check.reports.iter_mut().flat_map(|r| &mut r.rows) {
        (row.verdict, row.level, row.waiver) = (Verdict::Inconclusive, "error".into(), None);
    }
    let blocks =
        |check: &Check| html(&Page { check, anatomies: &[], ranking: None }).contains("What stands in the way");
    assert!(blocks(&check));
    check.inconclusive_warns = true;
    assert!(!blocks(&check));
}

#[test]
fn nodes_inside_nodes_and_absent_weights_are_told() {
    let page = whole();
    let inner = "choice › then › inner".replace(' ', "");
    assert!(page.replace("<wbr>", "").replace(' ', "").contains(&inner));
    assert!(page.contains("(dearest branch)") && page.contains("1 weight is absent: <bdi>w7</bdi>"));
}

#[test]
fn the_front_of_the_ranking_is_marked_and_nothing_else() {
    let (check, anatomies, mut ranking) = everything();
    for candidate in &mut ranking.candidates[..2] {
        candidate.front = true;
    }
    let page = page(&check, &anatomies, &ranking);
    assert!(page.contains("2 of 27 candidates are unbeaten"));
    assert_eq!(page.matches("<td>unbeaten</td>").count(), 2);
    assert_eq!(page.matches("class=\"point front").count(), 4);
}

#[test]
fn what_was_chosen_for_each_profile_is_told_and_what_stands_in_the_way_of_the_rest() {
    let (check, anatomies, mut ranking) = everything();
    let miss = Miss {
        profile: "mcu".into(),
        metric: "macs".into(),
        limit: "max 1M".into(),
        found: "2 M".into(),
        verdict: Verdict::Fail,
        excess: Some(1.0),
        note: String::new(),
    };
    let choice = |profile: &str, winner: Option<&str>, binding: Option<Miss>| Choice {
        profile: Some(profile.into()),
        winner: winner.map(str::to_owned),
        verdict: Verdict::Pass,
        runner_up: None,
        nearest: winner.is_none().then(|| "f16".into()),
        binding,
    };
    (ranking.winner, ranking.complete) = (None, false);
    ranking.choices = vec![choice("bed", Some("int8"), None), choice("mcu", None, Some(miss))];
    let page = page(&check, &anatomies, &ranking).replace("<bdi>", "").replace("</bdi>", "");
    assert!(page.contains("The winner for bed is int8."));
    assert!(page.contains(
        "No candidate keeps every budget for mcu. The nearest is f16: macs of mcu is 2 M, asked for is max 1M"
    ));
    assert!(page.contains("The time was over"));
}

#[test]
fn reports_of_before_there_were_loads_and_empty_ones_are_shown() {
    let (mut check, _, mut ranking) = everything();
    for row in check.reports.iter_mut().flat_map(|r| &mut r.rows) {
        *row = Row { load: None, ..row.clone() };
    }
    assert!(page(&check, &[], &ranking).contains("no figure"));
    let empty =
        Report { rows: vec![], verdict: Verdict::Skipped("nothing applies".into()), ..check.reports[0].clone() };
    check.reports = vec![empty];
    assert!(page(&check, &[], &ranking).contains("nothing applies"));
    check.reports.clear();
    ranking.winner = None;
    assert!(page(&check, &[], &ranking).contains("No candidate keeps every budget"));
}
