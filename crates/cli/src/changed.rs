//! Which release specs changed since a revision, in themselves or in what they name, and what they were there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    Model, external_files,
    shape::{Bindings, infer},
};
use plimsoll_optimize::Assessed;
use plimsoll_profile::{PathAt, Profile, Spec};
use plimsoll_record::{Changes, Figure, Moved, NodeMoved};

use crate::{
    failure::{Failure, Named},
    git::{Commit, Repository},
    manual::Code,
};

/// A work tree beside one of its revisions.
pub(crate) struct Since {
    pub(crate) repository: Repository,
    commit: Commit,
    now: BTreeSet<String>,
    /// Specs of the revision that are there no more: path and text. Those that were found under another name leave.
    gone: RefCell<BTreeMap<String, String>>,
    /// Whether a model may lack its weights.
    cost_only: bool,
}

/// A spec that changed, as it was.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) changes: Changes,
    /// `None` where there was none, or none that can be read.
    pub(crate) spec: Option<Spec>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) model: Option<Model>,
    /// What could not be compared, and why.
    pub(crate) remarks: Vec<String>,
}

impl Since {
    pub(crate) fn new(rev: &str, cost_only: bool) -> Result<Self, Failure> {
        let repository = Repository::around(Path::new("."))?;
        let (commit, now) = (repository.commit(rev)?, repository.files_now()?);
        let mut gone = BTreeMap::new();
        for path in commit.paths().filter(|p| p.ends_with(".toml") && !now.contains(*p)) {
            let text = repository.read(&commit, path)?.and_then(|bytes| String::from_utf8(bytes).ok());
            gone.extend(text.filter(|t| Spec::is_meant_by(t)).map(|text| (path.to_owned(), text)));
        }
        Ok(Self { repository, commit, now, gone: RefCell::new(gone), cost_only })
    }

    /// The specs to look at, as the repository names them: those given, else all that the work tree has.
    pub(crate) fn specs(&self, given: &[PathBuf]) -> Result<Vec<String>, Failure> {
        let named = |path: &PathBuf| {
            if path.extension().is_none_or(|e| e != "toml") {
                let message = format!("{} is no release spec, and --changed-since looks at these", path.display());
                return Err(Failure::new(Code::BadConfig, message).help("name plimsoll.toml files, or nothing at all"));
            }
            self.repository.name_of(path).ok_or_else(|| {
                let message = format!("{} lies outside the repository", path.display());
                Failure::new(Code::BadConfig, message).help("name specs of the repository that this folder lies in")
            })
        };
        if !given.is_empty() {
            return given.iter().map(named).collect();
        }
        let meant = |name: &&String| {
            let path = self.repository.path_of(name);
            name.ends_with(".toml")
                && fs::metadata(&path).is_ok_and(|m| m.len() <= 1 << 20)
                && fs::read_to_string(&path).is_ok_and(|text| Spec::is_meant_by(&text))
        };
        Ok(self.now.iter().filter(meant).cloned().collect())
    }

    /// Specs of the revision that have not been found again, under whatever name.
    pub(crate) fn removed(&self) -> Vec<String> {
        self.gone.borrow().keys().cloned().collect()
    }

    /// What a spec was, where it or something that it names has changed; `None` where nothing has.
    pub(crate) fn before(&self, name: &str) -> Result<Option<Before>, Failure> {
        let spec = match Spec::read(&self.repository.path_of(name)) {
            Ok(spec) => spec,
            // Whoever broke it is told; a change that has nothing to do with it is not held up.
            Err(_) if self.changed(name, name, &self.contents(&[name.to_owned()])?) => {
                return Ok(Some(Before::default()));
            }
            Err(_) => return Ok(None),
        };
        let old_name = if self.commit.content(name).is_some() { Some(name.to_owned()) } else { self.renamed(&spec) };
        let named = self.named(&spec);
        let mut looked_at = named.clone();
        looked_at.push(name.to_owned());
        let contents = self.contents(&looked_at)?;
        let mut files: Vec<String> = named.into_iter().filter(|file| self.changed(file, file, &contents)).collect();
        let own = old_name.as_deref().is_none_or(|old| old != name || self.changed(name, old, &contents));
        if own {
            files.insert(0, name.to_owned());
        }
        if files.is_empty() {
            return Ok(None);
        }
        let mut before = Before::default();
        before.changes.since = self.commit.rev.clone();
        before.changes.commit = self.commit.id.clone();
        before.changes.spec_before = old_name.clone().unwrap_or_default();
        before.changes.files = files;
        if let Some(old) = old_name.filter(|old| *old != name) {
            before.remarks.push(format!("the spec was {old} before"));
            self.read(&old, &mut before)?;
        } else if self.commit.content(name).is_some() {
            self.read(name, &mut before)?;
        }
        Ok(Some(before))
    }

    fn contents(&self, names: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        self.repository.contents_now(&names.iter().cloned().collect())
    }

    /// Whether a file is not what another was. What neither git nor the revision knows (ignored files) is not compared.
    fn changed(&self, name: &str, old: &str, contents: &BTreeMap<String, String>) -> bool {
        let before = self.commit.content(old);
        if before.is_none() && !self.now.contains(name) {
            return false;
        }
        contents.get(name).map(String::as_str) != before
    }

    /// Where a release of the same name was, if its spec is there no more.
    fn renamed(&self, spec: &Spec) -> Option<String> {
        let mut gone = self.gone.borrow_mut();
        let same = |(path, text): (&String, &String)| {
            let old = Spec::from_text(self.repository.path_of(path), text).ok()?;
            (old.name.value == spec.name.value).then(|| path.clone())
        };
        let old = gone.iter().find_map(same)?;
        gone.remove(&old);
        Some(old)
    }

    /// Everything that a spec names, as far as it lies in the repository.
    fn named(&self, spec: &Spec) -> Vec<String> {
        let data = &spec.data;
        let optional = [&data.calibration, &data.validation, &data.test, &spec.contract, &spec.pipeline.samples];
        let paths = [&spec.model].into_iter().chain(optional.into_iter().flatten()).chain(&spec.profiles);
        let mut files: Vec<PathBuf> = paths.map(|p| p.path.clone()).collect();
        files.extend(spec.profiles.iter().flat_map(|p| Profile::extended(&p.path)));
        let folder = spec.model.path.parent().unwrap_or(Path::new(""));
        let weights = fs::read(&spec.model.path).map(|bytes| external_files(&bytes)).unwrap_or_default();
        files.extend(weights.into_iter().map(|file| folder.join(file)));
        let mut names: Vec<String> = files.iter().filter_map(|path| self.repository.name_of(path)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Reads a spec as it was, with its profiles and its model. What cannot be read is remarked on: the change may mend it.
    fn read(&self, name: &str, before: &mut Before) -> Result<(), Failure> {
        let rev = &self.commit.rev;
        let Some(text) = self.text(name)? else { return Ok(()) };
        let spec = match Spec::from_text(self.repository.path_of(name), &text) {
            Ok(spec) => spec,
            Err(e) => {
                before.remarks.push(format!("nothing is compared with {rev}, where the spec cannot be read: {e}"));
                return Ok(());
            }
        };
        for path in &spec.profiles {
            match self.profile(path)? {
                Ok(profile) => before.profiles.push(profile),
                Err(why) => before.remarks.push(format!("{} is not compared with {rev}: {why}", path.written)),
            }
        }
        before.model = self.model(&spec.model)?;
        if before.model.is_none() {
            before.remarks.push(format!("{} is not in {rev}: there is no model to compare with", spec.model.written));
        }
        before.spec = Some(spec);
        Ok(())
    }

    fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.repository.read(&self.commit, name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A profile as it was, or why there is none. One that lies outside the repository is as it is.
    fn profile(&self, path: &PathAt) -> Result<Result<Profile, String>, Failure> {
        let Some(name) = self.repository.name_of(&path.path) else {
            return Ok(Profile::read(&path.path).map_err(|e| e.to_string()));
        };
        let Some(text) = self.text(&name)? else { return Ok(Err("it was not there".into())) };
        // What it extends is as it was, too.
        let load = |extended: &Path| match self.repository.name_of(extended) {
            Some(name) => match self.text(&name) {
                Ok(Some(text)) => Ok(text),
                Ok(None) => Err("it was not there".to_owned()),
                Err(failure) => Err(failure.message().to_owned()),
            },
            None => plimsoll_profile::read_text(extended),
        };
        Ok(Profile::from_text_among(&path.path, &text, &load).map_err(|e| e.to_string()))
    }

    /// The model as it was, weights in other files included; they are laid into a folder of their own.
    fn model(&self, path: &PathAt) -> Result<Option<Model>, Failure> {
        let Some(name) = self.repository.name_of(&path.path) else { return Ok(None) };
        let Some(bytes) = self.repository.read(&self.commit, &name)? else { return Ok(None) };
        let folder = tempfile::tempdir().map_err(|e| Failure::not_written(&std::env::temp_dir(), &e))?;
        let lay = |file: &Path, bytes: &[u8]| {
            let parent = file.parent().unwrap_or(folder.path());
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(file, bytes));
            written.map_err(|e| Failure::not_written(file, &e))
        };
        let parent = Path::new(&name).parent().unwrap_or(Path::new(""));
        for file in external_files(&bytes) {
            let inside = Path::new(&file).components().all(|c| matches!(c, std::path::Component::Normal(_)));
            let stored = parent.join(&file);
            if let (true, Some(stored)) = (inside, stored.to_str())
                && let Some(weights) = self.repository.read(&self.commit, stored)?
            {
                lay(&folder.path().join(&file), &weights)?;
            }
        }
        let model = folder.path().join("model.onnx");
        lay(&model, &bytes)?;
        let at = format!("{name} at {}", self.commit.rev);
        let read = if self.cost_only { Model::read_outline(&model) } else { Model::read(&model) };
        Ok(Some(read.map_err(Failure::from).of_model(Path::new(&at))?))
    }
}

impl Before {
    /// What a reviewer reads: the figures and nodes that moved.
    pub(crate) fn moved(
        &self,
        model: &Model,
        now: &[Figure],
        samples: Option<&dyn plimsoll_dataset::Samples>,
    ) -> Result<Changes, Failure> {
        let mut changes = self.changes.clone();
        let Some(old) = &self.model else { return Ok(changes) };
        let then = Assessed::count(old, None, samples)?.figures;
        let metrics = then.iter().chain(now).filter(|f| f.executor == "static");
        for figure in metrics {
            if changes.moved.iter().any(|m| m.metric == figure.metric) {
                continue;
            }
            let of = |figures: &[Figure]| figures.iter().find(|f| f.metric == figure.metric).map(|f| f.value);
            let (metric, unit) = (figure.metric.clone(), figure.unit.clone());
            changes.moved.push(Moved { metric, unit, before: of(&then), after: of(now) });
        }
        changes.nodes = nodes(old, model);
        Ok(changes)
    }
}

/// Nodes whose cost changed, the largest change first; nodes of one name are told apart by their order.
fn nodes(old: &Model, new: &Model) -> Vec<NodeMoved> {
    let mut found: Vec<NodeMoved> = Vec::new();
    let mut places: HashMap<(String, usize), usize> = HashMap::new();
    for (model, is_new) in [(old, false), (new, true)] {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for node in analyse(model, &infer(model, &Bindings::batch(1))).nodes {
            let nth = seen.entry(node.name.clone()).or_default();
            let place = *places.entry((node.name.clone(), *nth)).or_insert_with(|| {
                let (name, op) = (node.name.clone(), node.op.clone());
                let none =
                    NodeMoved { name, op, macs_before: None, macs_after: None, bytes_before: None, bytes_after: None };
                found.push(none);
                found.len() - 1
            });
            *nth += 1;
            let Some(entry) = found.get_mut(place) else { continue };
            if is_new {
                (entry.macs_after, entry.bytes_after) = (node.macs, Some(node.bytes));
            } else {
                (entry.macs_before, entry.bytes_before) = (node.macs, Some(node.bytes));
            }
        }
    }
    found.retain(|n| n.macs_before != n.macs_after || n.bytes_before != n.bytes_after);
    let size = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).abs_diff(b.unwrap_or(0));
    found.sort_by_key(|n| std::cmp::Reverse((size(n.macs_before, n.macs_after), size(n.bytes_before, n.bytes_after))));
    found
}
