//! The repository around the files that are checked, by the `git` program. Everything is read from the object store; neither the work
//! tree nor the index is touched, so that a check may run beside anything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{failure::Failure, manual::Code};

/// A work tree and its object store.
pub(crate) struct Repository {
    root: PathBuf,
}

/// The files of a commit.
pub(crate) struct Commit {
    /// As named.
    pub(crate) rev: String,
    /// Its full name.
    pub(crate) id: String,
    /// Name of each file's content, by path.
    files: BTreeMap<String, String>,
}

impl Repository {
    /// The repository that a folder lies in.
    pub(crate) fn around(folder: &Path) -> Result<Self, Failure> {
        let output = run(folder, &["rev-parse", "--show-toplevel"], &[])?;
        let root = output.text().filter(|root| !root.is_empty());
        let Some(root) = root else {
            let why = match output.error.as_str() {
                "" => "it lies in no work tree".to_owned(),
                error => error.to_owned(),
            };
            let message = format!("{} is in no git repository that can be read: {why}", folder.display());
            return Err(bad(message, "--changed-since compares with a revision: run it inside a clone"));
        };
        Ok(Self { root: PathBuf::from(root.trim_end_matches(['\n', '\r'])) })
    }

    /// The commit that a revision names.
    pub(crate) fn commit(&self, rev: &str) -> Result<Commit, Failure> {
        let named = format!("{rev}^{{commit}}");
        let output = run(&self.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &named], &[])?;
        let Some(id) = output.text().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()) else {
            let shallow = run(&self.root, &["rev-parse", "--is-shallow-repository"], &[])?;
            let help = if shallow.text().is_some_and(|t| t.trim() == "true") {
                "this clone is shallow: fetch the revision (`git fetch --unshallow`, or `fetch-depth: 0` in actions/checkout)"
            } else {
                "name a branch, a tag or a commit of this clone, such as origin/main; `git fetch` it first"
            };
            return Err(bad(format!("git knows no revision `{rev}`"), help));
        };
        let listed =
            run(&self.root, &["ls-tree", "-r", "-z", "--full-tree", &id], &[])?.or_failed("list the commit")?;
        let files = String::from_utf8_lossy(&listed).split('\0').filter_map(entry).collect();
        Ok(Commit { rev: rev.into(), id, files })
    }

    /// Paths of the files that the work tree has and that are not ignored.
    pub(crate) fn files_now(&self) -> Result<BTreeSet<String>, Failure> {
        let args = ["ls-files", "-z", "--full-name", "--cached", "--others", "--exclude-standard"];
        let listed = run(&self.root, &args, &[])?.or_failed("list the files")?;
        let there = |path: &str| !path.is_empty() && self.root.join(path).is_file();
        Ok(String::from_utf8_lossy(&listed).split('\0').filter(|p| there(p)).map(str::to_owned).collect())
    }

    /// Names of the contents that files have now, as git would store them; of those that can be read.
    pub(crate) fn contents_now(&self, paths: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        // git takes one path a line.
        let listed: Vec<&String> =
            paths.iter().filter(|p| !p.contains(['\n', '\r', '"']) && self.root.join(p).is_file()).collect();
        if listed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let input: String = listed.iter().map(|p| format!("{p}\n")).collect();
        let output = run(&self.root, &["hash-object", "--stdin-paths"], input.as_bytes())?.or_failed("hash files")?;
        let text = String::from_utf8_lossy(&output).into_owned();
        Ok(listed.into_iter().cloned().zip(text.lines().map(str::to_owned)).collect())
    }

    /// Content of a file at a commit, as a checkout would write it; `None` where the commit has no such file.
    pub(crate) fn read(&self, commit: &Commit, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        if commit.content(path).is_none() {
            return Ok(None);
        }
        let object = format!("{}:{path}", commit.id);
        let bytes = run(&self.root, &["cat-file", "--filters", &object], &[])?;
        let bytes = bytes.or_failed(&format!("read {path} at {}", commit.rev))?;
        if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
            let message = format!("{path} at {} is a pointer of Git LFS, and its content is not here", commit.rev);
            return Err(bad(message, format!("install git-lfs and run `git lfs fetch origin {}`", commit.rev)));
        }
        Ok(Some(bytes))
    }

    /// A path as the repository names it, with `/`; `None` where it lies elsewhere.
    pub(crate) fn name_of(&self, path: &Path) -> Option<String> {
        let full = std::path::absolute(path).ok()?;
        // The root is free of links, and so must be what is held against it, even where the file is not there.
        let (mut folder, mut rest) = (full.as_path(), PathBuf::new());
        let real = loop {
            match folder.canonicalize() {
                Ok(real) => break real,
                Err(_) => {
                    rest = Path::new(folder.file_name()?).join(rest);
                    folder = folder.parent()?;
                }
            }
        };
        let real = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        let inside = real.strip_prefix(self.root.canonicalize().ok()?).ok()?;
        let parts = inside.components().map(|c| match c {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// A path of the repository as this process reaches it: relative where it lies below its folder.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        let full = self.root.join(name);
        let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        root.join(name).strip_prefix(&here).map_or(full, Path::to_owned)
    }
}

impl Commit {
    /// Name of a file's content; `None` where there is no such file.
    pub(crate) fn content(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// The commit that a folder is at, where all these files are in it as they are; nothing is claimed of any other.
pub(crate) fn commit_of(folder: &Path, files: &[PathBuf]) -> Option<String> {
    let folder = Some(folder).filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = files.iter().map(|f| f.canonicalize()).collect::<Result<Vec<_>, _>>().ok()?;
    let holds = |args: &[&str]| {
        let mut all: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        all.extend(whole.iter().map(|f| f.as_os_str()));
        run(folder, &all, &[]).is_ok_and(|output| output.bytes.is_some())
    };
    let head = run(folder, &["rev-parse", "--verify", "--quiet", "HEAD"], &[]).ok()?.text()?.trim().to_owned();
    let there = holds(&["ls-files", "--error-unmatch", "-z", "--"]) && holds(&["diff", "--quiet", "HEAD", "--"]);
    (there && !head.is_empty()).then_some(head)
}

/// `MODE TYPE OBJECT<tab>PATH`; submodules are no files.
fn entry(line: &str) -> Option<(String, String)> {
    let (facts, path) = line.split_once('\t')?;
    let mut facts = facts.split(' ').skip(1);
    (facts.next()? == "blob").then_some(())?;
    Some((path.to_owned(), facts.next()?.to_owned()))
}

struct Output {
    bytes: Option<Vec<u8>>,
    /// First line of what git complained of.
    error: String,
}

impl Output {
    fn text(&self) -> Option<String> {
        self.bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned())
    }

    fn or_failed(self, what: &str) -> Result<Vec<u8>, Failure> {
        let Self { bytes, error } = self;
        bytes.ok_or_else(|| {
            bad(format!("git failed to {what}: {error}"), "`git fsck` tells whether the repository is whole")
        })
    }
}

fn run(folder: &Path, args: &[impl AsRef<OsStr>], input: &[u8]) -> Result<Output, Failure> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound if !folder.is_dir() => {
            bad(format!("{} is no folder", folder.display()), "run it inside a clone")
        }
        io::ErrorKind::NotFound => bad(
            "the program `git` is not installed",
            "--changed-since reads the earlier version from git: install it, or check the specs by name",
        ),
        _ => bad(format!("failed to run git: {e}"), "try `git status` in the same folder"),
    };
    let mut child = Command::new("git")
        .args(args)
        .current_dir(folder)
        // Nothing is refreshed on the side, nobody is asked, and messages are those that this file knows.
        .envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // A pipe holds little: git may write before it has read everything.
    let output = std::thread::scope(|scope| {
        if let Some(mut pipe) = child.stdin.take() {
            scope.spawn(move || pipe.write_all(input));
        }
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    let error = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
    Ok(Output { bytes: output.status.success().then_some(output.stdout), error })
}

fn bad(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure::new(Code::BadConfig, message).help(help)
}
