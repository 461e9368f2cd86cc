//! From text to a TOML tree with spans, and from the tree to values: each getter notes what it was asked for and what was
//! wrong, so that all problems come out together and unknown keys are known by what was never asked for.

use std::{borrow::Cow, cell::RefCell, fs::File, io::Read as _, path::Path, sync::Arc};

use toml::de::DeTable;

use crate::{
    error::{ConfigError, Problem},
    nearest::nearest,
    source::{Source, Span, Spanned},
};

/// A value of the tree.
pub(crate) type Value<'t> = toml::de::DeValue<'t>;

/// More than any file that a human writes.
const LARGEST: u64 = 1 << 20;
/// More problems than anybody reads at once.
const MOST_PROBLEMS: usize = 50;

/// Why a value is not what its key asks for.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// A type that a key's value can have.
pub(crate) trait FromToml: Sized {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong>;
}

impl FromToml for String {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = value
            .as_str()
            .ok_or_else(|| Wrong::new(format!("this is {}, not text", a(value)), "write it in quotes"))?;
        if text.trim().is_empty() {
            return Err(Wrong::new("this text is empty", "write something or remove the key"));
        }
        if text.chars().any(char::is_control) {
            return Err(Wrong::new("this text holds control characters", "write it in plain characters on one line"));
        }
        Ok(text.to_owned())
    }
}

impl FromToml for bool {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| Wrong::new(format!("this is {}", a(value)), "write true or false"))
    }
}

/// The kind of a value in words, with its article.
pub(crate) fn a(value: &Value<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// One of some words.
pub(crate) fn one_of<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Result<T, Wrong> {
    let list = words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", ");
    let written =
        value.as_str().ok_or_else(|| Wrong::new(format!("this is {}", a(value)), format!("write one of {list}")))?;
    words.iter().find(|(w, _)| *w == written).map(|(_, t)| *t).ok_or_else(|| {
        let help = match nearest(written, words.iter().map(|(w, _)| *w)) {
            Some(near) => format!("did you mean `{near}`? the choices are {list}"),
            None => format!("the choices are {list}"),
        };
        Wrong::new(format!("there is no `{}`", shortened(written)), help)
    })
}

/// Text from outside, short enough for a message.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

/// Reads a file, whole, within bounds.
pub(crate) fn open(path: &Path) -> Result<Arc<Source>, ConfigError> {
    let failed = |message: String, help: &str| {
        ConfigError::new(Arc::new(Source::new(path, "")), vec![Problem::of_file(message, help)])
    };
    let unread =
        |e: &std::io::Error| failed(format!("failed to read the file: {e}"), "check the path and its permissions");
    let file = File::open(path).map_err(|e| unread(&e))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| unread(&e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(
            "the file is larger than 1 MiB".into(),
            "no file that a human writes is; was another file meant?",
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(Source::new(path, text))),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            let line = e.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            Err(failed(format!("the text is not UTF-8 from byte {at} (line {line}) on"), "save the file as UTF-8"))
        }
    }
}

/// Parses a text and reads its tree; everything that was wrong with either is the error.
pub(crate) fn read<T>(source: &Arc<Source>, reader: impl FnOnce(&Table<'_>) -> Option<T>) -> Result<T, ConfigError> {
    read_layers(source, Problems::default(), |table, _| reader(table))
}

/// Parses a file and those that it extends. What is read is one tree, in which a table is that of the file with the keys that only
/// extended files have, and anything else is that of the nearest file that says it; and the tree of each file by itself.
pub(crate) fn read_layers<T>(
    source: &Arc<Source>,
    problems: Problems,
    reader: impl FnOnce(&Table<'_>, &[Table<'_>]) -> Option<T>,
) -> Result<T, ConfigError> {
    let fail = |problems| Err(ConfigError::new(Arc::clone(source), problems));
    if source.files().any(|f| f.text().len() as u64 > LARGEST) {
        return fail(vec![Problem::of_file("the text is larger than 1 MiB", "no file that a human writes is")]);
    }
    // Blanks before a text shift its spans to where the source expects them. A byte order mark is no blank after blanks.
    let text = |(file, offset): (&Source, usize)| match file.text().strip_prefix('\u{feff}') {
        Some(rest) => format!("{}{rest}", " ".repeat(offset + 3)),
        None => format!("{}{}", " ".repeat(offset), file.text()),
    };
    let texts: Vec<(usize, String)> =
        source.files().zip(source.offsets()).map(|(f, offset)| (offset, text((f, offset)))).collect();
    let mut trees = Vec::new();
    let mut broken = false;
    for (offset, text) in &texts {
        let (tree, errors) = DeTable::parse_recoverable(text);
        let doubled = errors.iter().all(|e| e.message().contains("duplicate key"));
        for error in errors {
            let span = error.span().map_or(Span { start: *offset, end: *offset }, Span::from);
            let problem = Problem::at(span, format!("this is no valid TOML: {}", error.message().replace('\n', ", ")));
            problems.add(problem.help(if doubled {
                "write each key once"
            } else {
                "see https://toml.io for the syntax"
            }));
        }
        broken |= !doubled;
        trees.push((*offset, tree.into_inner()));
    }
    // What follows from broken syntax is noise.
    if broken {
        return fail(problems.into_inner());
    }
    if trees.iter().all(|(_, tree)| tree.is_empty()) && problems.is_empty() {
        return fail(vec![Problem::of_file("the file is empty", "start from an example in docs/examples or profiles")]);
    }
    let mut merged = trees.first().map(|(_, tree)| tree.clone()).unwrap_or_default();
    for (_, tree) in trees.iter().skip(1) {
        let inherited = tree.iter().filter(|(key, _)| !NOT_INHERITED.contains(&key.get_ref().as_ref()));
        merge(&mut merged, inherited);
    }
    let root = |entries, offset| Table {
        entries,
        name: String::new(),
        span: Span { start: offset, end: offset },
        known: RefCell::default(),
        problems: &problems,
    };
    let layers: Vec<Table<'_>> = trees.iter().map(|(offset, tree)| root(tree, *offset)).collect();
    let table = root(&merged, 0);
    let value = reader(&table, &layers);
    table.finish();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => {
            let mut found = problems.into_inner();
            if found.is_empty() {
                found.push(Problem::of_file(
                    "the file says too little",
                    "start from an example in docs/examples or profiles",
                ));
            }
            fail(found)
        }
    }
}

/// What each file says of itself alone; budgets are inherited whole, each by its metric, by whoever reads them.
const NOT_INHERITED: [&str; 4] = ["schema", "name", "extends", "budget"];

/// Adds what only the extended table says.
fn merge<'t>(
    own: &mut DeTable<'t>,
    extended: impl Iterator<Item = (&'t toml::Spanned<Cow<'t, str>>, &'t toml::Spanned<Value<'t>>)>,
) {
    for (key, value) in extended {
        match (own.get_mut(key.get_ref().as_ref()).map(toml::Spanned::get_mut), value.get_ref()) {
            (None, _) => {
                own.insert(key.clone(), value.clone());
            }
            (Some(Value::Table(own)), Value::Table(extended)) => merge(own, extended.iter()),
            (Some(_), _) => {}
        }
    }
}

/// Problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn add(&self, problem: Problem) {
        let mut problems = self.0.borrow_mut();
        if problems.len() < MOST_PROBLEMS {
            problems.push(problem);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A table that is being read.
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    name: String,
    span: Span,
    known: RefCell<Vec<&'static str>>,
    problems: &'t Problems,
}

impl<'t> Table<'t> {
    /// Notes a problem.
    pub(crate) fn report(&self, problem: Problem) {
        self.problems.add(problem);
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The tree of the table, for readers whose keys are not fixed; they report unknown keys themselves.
    pub(crate) fn entries(&self) -> &'t DeTable<'t> {
        self.entries
    }

    fn child(&self, entries: &'t DeTable<'t>, key: &str, span: Span) -> Table<'t> {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Table { entries, name, span, known: RefCell::default(), problems: self.problems }
    }

    /// A value as it stands.
    pub(crate) fn raw(&self, key: &'static str) -> Option<(&'t Value<'t>, Span)> {
        self.known.borrow_mut().push(key);
        let value = self.entries.get(key)?;
        Some((value.get_ref(), value.span().into()))
    }

    /// Says that a key must be there.
    pub(crate) fn missing(&self, key: &str, help: &str) {
        let within = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
        self.report(Problem::at(self.span, format!("the key `{key}` is missing{within}")).help(help));
    }

    /// An optional value.
    pub(crate) fn get<T: FromToml>(&self, key: &'static str) -> Option<Spanned<T>> {
        let (value, span) = self.raw(key)?;
        self.convert(value, span)
    }

    /// A value that must be there; `help` says what to write.
    pub(crate) fn need<T: FromToml>(&self, key: &'static str, help: &str) -> Option<Spanned<T>> {
        if self.raw(key).is_none() {
            self.missing(key, help);
        }
        self.get(key)
    }

    /// A value of the tree as a type, or a problem.
    pub(crate) fn convert<T: FromToml>(&self, value: &Value<'_>, span: Span) -> Option<Spanned<T>> {
        match T::from_toml(value) {
            Ok(value) => Some(Spanned { value, span }),
            Err(wrong) => {
                self.report(Problem::at(span, wrong.message).help(wrong.help));
                None
            }
        }
    }

    /// An optional list.
    pub(crate) fn list<T: FromToml>(&self, key: &'static str) -> Option<Spanned<Vec<Spanned<T>>>> {
        let (value, span) = self.raw(key)?;
        let Some(array) = value.as_array() else {
            self.report(Problem::at(span, format!("this is {}, not a list", a(value))).help("write [ … ]"));
            return None;
        };
        let items: Vec<_> = array.iter().map(|v| self.convert(v.get_ref(), v.span().into())).collect();
        Some(Spanned { value: items.into_iter().collect::<Option<Vec<_>>>()?, span })
    }

    /// An optional table.
    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'t>> {
        let (value, span) = self.raw(key)?;
        self.as_table(key, value, span)
    }

    /// A table that must be there.
    pub(crate) fn need_table(&self, key: &'static str, help: &str) -> Option<Table<'t>> {
        if self.raw(key).is_none() {
            self.missing(key, help);
        }
        self.table(key)
    }

    /// A list of tables, `[[key]]`.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'t>> {
        let Some((value, span)) = self.raw(key) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            self.report(
                Problem::at(span, format!("this is {}, not a list of tables", a(value)))
                    .help(format!("write [[{key}]]")),
            );
            return Vec::new();
        };
        array.iter().filter_map(|v| self.as_table(key, v.get_ref(), v.span().into())).collect()
    }

    /// A value of the tree as a table, or a problem.
    pub(crate) fn as_table(&self, key: &str, value: &'t Value<'t>, span: Span) -> Option<Table<'t>> {
        match value.as_table() {
            Some(entries) => Some(self.child(entries, key, span)),
            None => {
                self.report(
                    Problem::at(span, format!("`{key}` is {}, not a table", a(value)))
                        .help(format!("write [{key}] on a line of its own, or {{ … }}")),
                );
                None
            }
        }
    }

    /// `schema = 1`, which every file starts with.
    pub(crate) fn schema(&self) {
        const HELP: &str = "write `schema = 1` in the first line; this version reads no other";
        match self.raw("schema") {
            None => self.missing("schema", HELP),
            Some((value, _)) if value.as_integer().is_some_and(|i| i.as_str() == "1") => {}
            Some((_, span)) => self.report(Problem::at(span, "this schema is not known").help(HELP)),
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(&self) {
        let mut known = self.known.borrow().clone();
        known.sort_unstable();
        known.dedup();
        let within = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
        for key in self.entries.keys() {
            let written = key.get_ref();
            if !known.contains(&written.as_ref()) {
                self.report(unknown(written, key.span().into(), &format!("key{within}"), &known));
            }
        }
    }
}

/// The problem of a word that is not known where it stands.
pub(crate) fn unknown(written: &str, span: Span, what: &str, known: &[&str]) -> Problem {
    let list = known.join(", ");
    let (what, within) = what.split_once(' ').map_or((what, String::new()), |(w, rest)| (w, format!(" {rest}")));
    let problem = Problem::at(span, format!("unknown {what} `{}`{within}", shortened(written)));
    match nearest(written, known.iter().copied()) {
        Some(near) => {
            problem.help(format!("did you mean `{near}`? known are {list}")).label(format!("perhaps `{near}`"))
        }
        None => problem.help(format!("known are {list}")),
    }
}

/// A finite number without unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl FromToml for Number {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let number = match value {
            Value::Integer(i) => i128::from_str_radix(i.as_str(), i.radix()).ok().map(|n| n as f64),
            Value::Float(f) => f.as_str().parse::<f64>().ok(),
            _ => {
                return Err(Wrong::new(
                    format!("this is {}, not a number", a(value)),
                    "write a number without quotes and unit",
                ));
            }
        };
        let finite = number.filter(|n| n.is_finite());
        finite.map(Self).ok_or_else(|| Wrong::new("this is no finite number", "write a number such as 4 or 0.5"))
    }
}

/// A name that is safe as a file name and a target name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl FromToml for Name {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = String::from_toml(value)?;
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b));
        if first && rest && text.len() <= 64 && !text.contains("..") {
            return Ok(Self(text));
        }
        let help = "up to 64 of a-z, 0-9, `-`, `_`, `.`, `+`, beginning with a letter or digit: it becomes a file name";
        Err(Wrong::new(format!("`{}` is no name", shortened(&text)), help))
    }
}
