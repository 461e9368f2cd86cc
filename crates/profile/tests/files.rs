//! The files that the repository ships are read, and what they mean is what their text says.

use std::path::{Path, PathBuf};

use plimsoll_profile::{
    Aim, Basis, Bound, ConfigError, Contract, Day, Demands, DeviceSpec, Dim, Enrolment, Fill, InputSpec, Kind, Level,
    Metric, Missing, Normalisation, Objective, Policy, Profile, RolloutMetric, Spec,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check<T>(read: fn(&Path) -> Result<T, ConfigError>, path: &str) -> T {
    read(&root().join(path)).unwrap_or_else(|e| panic!("{}", e.render()))
}

#[test]
fn shipped_profiles_decide_something_on_any_machine() {
    let folder = std::fs::read_dir(root().join("profiles")).unwrap().map(|e| e.unwrap().path());
    let files = folder.filter(|p| p.extension().is_some_and(|e| e == "toml"));
    let profiles: Vec<Profile> = files.map(|p| check(Profile::read, p.to_str().unwrap())).collect();
    assert!(profiles.iter().any(|p| p.kind == Kind::Server));
    assert!(profiles.iter().filter(|p| p.kind == Kind::Device).count() >= 2);
    for profile in &profiles {
        // What nothing here runs on is of no kind.
        assert!(profile.executor.is_none() || !profile.hardware.isa.is_empty(), "{} is of no kind", profile.name);
        let decisive = profile.budgets.budgets.iter().filter(|b| b.level == Level::Error);
        assert!(decisive.filter(|b| b.metric.basis() != Basis::Machine).count() >= 2, "{}", profile.name);
    }
}

#[test]
fn limits_remember_their_place() {
    let profile = check(Profile::read, "profiles/device-bedside-cortex-a.toml");
    let budget = profile.budgets.get(Metric::LatencyP99).unwrap();
    let [limit] = budget.limits.as_slice() else { panic!("{budget:?}") };
    assert_eq!((limit.bound, budget.level, limit.words().as_str()), (Bound::Max(0.08), Level::Warn, "max 80ms"));
    assert_eq!(profile.source.slice(limit.span), "\"80ms\"");
    assert!(profile.source.line(limit.span).starts_with("latency.p99 = "));
}

#[test]
fn the_example_spec_says_what_its_comments_say() {
    let spec = check(Spec::read, "docs/examples/plimsoll.toml");
    assert_eq!((spec.name.value.as_str(), spec.version.value.to_string().as_str()), ("sleep-wake", "1.0.0-example"));
    assert_eq!((spec.metric, spec.objective.clone()), (Metric::BalancedAccuracy, Objective::of(Aim::ArtifactSize)));
    assert_eq!(spec.margins.get(Metric::AccuracyDrop).unwrap().limits[0].bound, Bound::Max(0.03));
    let recipes = spec.recipes.as_ref().unwrap();
    assert_eq!(recipes[1].steps[1].parameters["remove-macs"].value, "20%");
    let data = [&spec.data.calibration, &spec.data.validation, &spec.data.test].into_iter().flatten();
    for path in spec.profiles.iter().chain([&spec.model]).chain(&spec.contract).chain(data) {
        assert!(path.path.exists(), "{} leads nowhere", path.written);
    }
}

#[test]
fn the_example_contract_and_policy_say_what_their_comments_say() {
    let contract = check(Contract::read, "docs/examples/contract.toml");
    let [heart, movement] = contract.inputs.as_slice() else { panic!() };
    assert_eq!(heart.shape.value, [Dim::Named("batch".into()), Dim::Fixed(1), Dim::Fixed(150)]);
    let fixed = Normalisation::Fixed { mean: vec![62.0], std: vec![9.5] };
    let said = |i: &InputSpec| {
        let signal = i.signal.clone();
        (signal.normalisation.map(|n| n.value), signal.missing.map(|m| m.value))
    };
    assert_eq!(said(heart), (Some(fixed), Some(Missing::Nan)));
    assert_eq!(said(movement), (None, None));
    assert_eq!(contract.max_opset.unwrap().value, 17);

    let policy = check(Policy::read, "docs/examples/policy.toml");
    assert_eq!(policy.stages.iter().map(|s| s.share).collect::<Vec<_>>(), [0.01, 0.05, 0.2, 0.5, 1.0]);
    assert_eq!(policy.beta.soak.0, 30.0 * 86_400.0);
    let rating = policy.tolerances.iter().find(|t| t.metric == RolloutMetric::Rating).unwrap();
    assert_eq!((rating.margin, rating.limit), (0.3, Some(3.0)));
}

#[test]
fn the_example_device_and_enrolment_say_what_their_comments_say() {
    let device = check(DeviceSpec::read, "docs/examples/device.toml");
    assert_eq!((device.beta, device.trial, device.routes, device.crashes), (true, false, false, 3));
    assert_eq!((device.shadow, device.quiet_hours), (0.05, Some([20 * 60, 6 * 60])));
    assert!(device.is_quiet(23 * 60) && device.is_quiet(0) && !device.is_quiet(6 * 60) && !device.is_quiet(12 * 60));
    assert!(device.contract.unwrap().path.exists() && device.enrolment.as_ref().unwrap().path.exists());

    let enrolment = check(Enrolment::read, "docs/examples/enrolment.toml");
    let takes_part = |id, day| enrolment.has(id, Day::parse(day).unwrap());
    assert!(takes_part(&device.id, "2026-11-03") && !takes_part(&device.id, "2026-11-02"));
    assert!(takes_part("07aa93bc5d12", "2026-11-19") && !takes_part("07aa93bc5d12", "2026-11-20"));
    assert!(!takes_part("stranger", "2026-11-19"));
}

#[test]
fn the_example_of_change_control_says_what_its_comments_say() {
    let change = check(Spec::read, "docs/examples/plimsoll.toml").change.unwrap();
    assert_eq!((change.ticket.as_str(), change.in_plan), ("SW-1432", true));
    assert_eq!((change.requirements.len(), change.risks.len(), change.anomalies.len()), (2, 2, 1));
    assert_eq!(change.trace[0].budgets, ["accuracy-drop", "agreement"]);
}

#[test]
fn the_example_of_demands_says_what_its_comments_say() {
    let demands = check(Demands::read, "docs/examples/demands.toml");
    assert_eq!(demands.name.unwrap().value, "sleep-wake");
    assert!(demands.no_trial.unwrap().value && demands.no_waivers.unwrap().value);
    assert_eq!(demands.signers.unwrap().value.len(), 1);
    assert_eq!(demands.commit.unwrap().value, "3f786850e387");
    assert_eq!(demands.gates[1].value, "device-bedside-cortex-a");
    assert_eq!((demands.budgets.len(), demands.samples.unwrap().value), (2, 200));
    assert_eq!((demands.policies.len(), demands.attestations.len()), (1, 2));
    assert!(demands.source_model.is_some());
}

#[test]
fn the_example_contracts_say_what_their_models_take() {
    let read = |name: &str| check(Contract::read, &format!("docs/examples/contract-{name}.toml"));
    let sleep = read("sleep");
    assert_eq!(sleep.model.inputs.len(), 3);
    let rates = |c: &Contract| {
        let model = c.model.inputs[0].signal.sampling_rate.as_ref().unwrap().value.0;
        [c.inputs[0].signal.sampling_rate.as_ref().unwrap().value.0, model]
    };
    assert_eq!(rates(&sleep), [1.0, 0.2]);
    assert_eq!(sleep.model.inputs[0].fill.as_ref().unwrap().value, Fill::Hold);
    let bytes = read("bytes");
    assert_eq!(bytes.model.inputs[0].from[0].value, "content");
    assert_eq!(bytes.model.inputs[0].signal.missing.as_ref().unwrap().value, Missing::Value(256.0));
    assert_eq!(read("images").model.outputs[0].to[0].value, "probabilities");
    assert_ne!(read("digits").terms(), read("images").terms());
}

#[test]
fn specs_and_contracts_of_the_fixtures_name_the_same_classes() {
    for fixture in ["sleep-wake", "digits"] {
        let spec = check(Spec::read, &format!("fixtures/{fixture}/plimsoll.toml"));
        let contract = check(Contract::read, &format!("fixtures/{fixture}/contract.toml"));
        assert!(!spec.labels.is_empty() && spec.contract.is_some() && !spec.profiles.is_empty());
        assert_eq!(contract.outputs[0].labels, spec.labels);
    }
}
