//! Reading and writing model files, and the model's interface.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use onnx_protobuf::{
    GraphProto, Message, ModelProto, ValueInfoProto, tensor_shape_proto::dimension::Value as DimValue,
    type_proto::Value as TypeValue,
};

use crate::{
    Absent, DType, Defect, Digest, TensorError, View, check, digest, external, node, outline, protos::all_nodes, wire,
};

/// Protobuf cannot hold more than this in one message.
const MESSAGE_LIMIT: u64 = i32::MAX as u64;

/// Why a file could not be read as a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system said no.
    #[error("read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is empty.
    #[error("read {0}: the file is empty")]
    Empty(PathBuf),
    /// The file is larger than a protobuf message can be.
    #[error("read {path}: {bytes} bytes are more than an ONNX file can hold (2 GiB)")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The bytes are no ONNX model, or one that was cut off.
    #[error("read {path}: not a valid ONNX model ({reason})")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The graph is not whole.
    #[error("read {path}: {defect}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        defect: Defect,
    },
    /// External data that are missing, too short, or lie outside the model's folder.
    #[error("read {path}: external data of tensor `{tensor}`: {reason}")]
    External {
        /// The model file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight whose data cannot be what its dtype and shape say.
    #[error("read {path}: {source}")]
    Tensor {
        /// The model file.
        path: PathBuf,
        /// What is wrong.
        source: TensorError,
    },
}

impl ReadError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => return None,
            Self::Empty(_) => "export the model again; the export may have been interrupted".into(),
            Self::TooLarge { .. } => "export the model with its weights as external data".into(),
            Self::NotOnnx { .. } => "export the model again, or copy it again if it was cut off on the way".into(),
            Self::Broken { .. } => {
                "the file is damaged or was edited by hand; onnx.checker names the same defect".into()
            }
            Self::External { .. } => {
                "keep the data files beside the model, under the names it gives them; what a model costs without its weights \
                 tell `inspect` and `check --cost-only`"
                    .into()
            }
            Self::Tensor { source: TensorError::Length { found: 0, .. }, .. } => {
                "export the model with its weights; what it costs without them tell `inspect` and `check --cost-only`".into()
            }
            Self::Tensor { .. } => "the file is damaged; export the model again".into(),
        })
    }
}

/// Why a model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system said no.
    #[error("write {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The model could not be encoded.
    #[error("encode the model: {0}")]
    Encode(String),
}

/// One dimension as declared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DimSpec {
    /// A number.
    Fixed(u64),
    /// A named, symbolic dimension.
    Symbol(String),
    /// Nothing said.
    Unknown,
}

impl std::fmt::Display for DimSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// An input or output as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueSpec {
    /// Its name.
    pub name: String,
    /// Element type; `None` where it is no dense numeric tensor.
    pub dtype: Option<DType>,
    /// Dimensions; `None` where not even the rank is declared.
    pub dims: Option<Vec<DimSpec>>,
}

impl ValueSpec {
    /// Reads a declaration.
    pub fn from_proto(proto: &ValueInfoProto) -> Self {
        let tensor = match proto.type_.as_ref().and_then(|t| t.value.as_ref()) {
            Some(TypeValue::TensorType(t)) => Some(t),
            _ => None,
        };
        let dim = |d: &onnx_protobuf::tensor_shape_proto::Dimension| match &d.value {
            Some(DimValue::DimValue(n)) if *n >= 0 => DimSpec::Fixed(*n as u64),
            Some(DimValue::DimParam(s)) if !s.is_empty() => DimSpec::Symbol(s.clone()),
            _ => DimSpec::Unknown,
        };
        Self {
            name: proto.name.clone(),
            dtype: tensor.and_then(|t| DType::from_onnx(t.elem_type)),
            dims: tensor.and_then(|t| t.shape.as_ref()).map(|s| s.dim.iter().map(dim).collect()),
        }
    }
}

/// A parsed ONNX model. Everything the file held is still there.
#[derive(Debug, Clone)]
pub struct Model {
    proto: ModelProto,
    /// Whether some weights lay in other files; they are in memory now, and are written beside the model again.
    external: bool,
    /// Weights that are declared and not there; only in outlines.
    absent: Vec<Absent>,
}

impl Model {
    /// Reads a model file and the external data it names. Memory is bounded by the size of these files.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::read_with(path, false)
    }

    /// Reads a model of which some weights may be absent: files of external data that are not there, initializers that are declared
    /// without data, weights that are inputs of the graph. [`Model::absent`] names them; such an outline can be counted, and is good
    /// for nothing else. A model that is whole is read as [`Model::read`] does.
    pub fn read_outline(path: &Path) -> Result<Self, ReadError> {
        Self::read_with(path, true)
    }

    fn read_with(path: &Path, outline: bool) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.into(), source };
        let bytes = std::fs::metadata(path).map_err(io)?.len();
        if bytes > MESSAGE_LIMIT {
            return Err(ReadError::TooLarge { path: path.into(), bytes });
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&std::fs::read(path).map_err(io)?, path, Some(folder), outline)
    }

    /// Reads a model from memory. External data are refused, as there is no folder to find them in.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::parse(bytes, Path::new("(memory)"), None, false)
    }

    fn parse(bytes: &[u8], path: &Path, folder: Option<&Path>, outline: bool) -> Result<Self, ReadError> {
        let not_onnx = |reason: String| ReadError::NotOnnx { path: path.into(), reason };
        if bytes.is_empty() {
            return Err(ReadError::Empty(path.into()));
        }
        let parsed = ModelProto::parse_from_bytes(bytes).map_err(|e| e.to_string());
        let mut proto = wire::check_whole(bytes).and(parsed).map_err(not_onnx)?;
        if proto.graph.is_none() {
            return Err(not_onnx("it has no graph".into()));
        }
        if proto.opset_import.is_empty() && proto.ir_version >= 3 {
            return Err(not_onnx("it imports no operator set".into()));
        }
        let mut absent = Vec::new();
        let taken = &mut outline.then_some(&mut absent);
        let external = external::load(&mut proto, folder, taken.as_deref_mut())
            .map_err(|(tensor, reason)| ReadError::External { path: path.into(), tensor, reason })?;
        external::check_weights(&mut proto, taken.as_deref_mut())
            .map_err(|source| ReadError::Tensor { path: path.into(), source })?;
        let mut model = Self { proto, external, absent };
        check(&model).map_err(|defect| ReadError::Broken { path: path.into(), defect })?;
        if outline {
            let fed = outline::weights_from_inputs(&mut model.proto);
            model.absent.extend(fed);
        }
        Ok(model)
    }

    /// A model built in memory.
    pub fn from_proto(proto: ModelProto) -> Result<Self, Defect> {
        let model = Self { proto, external: false, absent: vec![] };
        check(&model)?;
        Ok(model)
    }

    /// This model with another wire form, for rewriting that no patch can express (names). The graph must be the same but for
    /// that; what was read from external data is written there again.
    pub fn with_proto(&self, proto: ModelProto) -> Self {
        Self { proto, external: self.external, absent: self.absent.clone() }
    }

    /// The weights that an outline lacks; empty for a whole model.
    pub fn absent(&self) -> &[Absent] {
        &self.absent
    }

    /// Bytes of the model as one message, with the weights that an outline lacks as raw data.
    pub fn file_len(&self) -> Result<u64, WriteError> {
        let bytes = self.to_bytes()?.len() as u64;
        Ok(if self.absent.is_empty() { bytes } else { bytes.saturating_add(outline::growth(&self.proto)) })
    }

    /// The wire form.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    pub(crate) fn proto_mut(&mut self) -> &mut ModelProto {
        &mut self.proto
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.get_or_default()
    }

    pub(crate) fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.mut_or_insert_default()
    }

    /// An index over the main graph.
    pub fn view(&self) -> View<'_> {
        View::new(self.graph(), self.proto.ir_version)
    }

    /// The imported version of an operator set; the default domain is `""`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let same = |d: &str| d == domain || (node::is_default_domain(d) && node::is_default_domain(domain));
        self.proto.opset_import.iter().find(|o| same(&o.domain)).map(|o| o.version)
    }

    /// The operators of the default domain that it needs, in its graphs within graphs too; constants are none.
    pub fn operators(&self) -> BTreeSet<String> {
        let nodes = all_nodes(self.graph()).into_iter();
        let needed = nodes.filter(|n| node::is_default_domain(&n.domain) && n.op_type != "Constant");
        needed.map(|n| n.op_type.clone()).collect()
    }

    /// The value of a metadata entry.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.proto.metadata_props.iter().find(|e| e.key == key).map(|e| e.value.as_str())
    }

    /// The inputs that a caller must feed: those without an initializer.
    pub fn inputs(&self) -> Vec<ValueSpec> {
        let held: std::collections::HashSet<&str> = self.graph().initializer.iter().map(|t| t.name.as_str()).collect();
        self.graph().input.iter().filter(|v| !held.contains(v.name.as_str())).map(ValueSpec::from_proto).collect()
    }

    /// The outputs.
    pub fn outputs(&self) -> Vec<ValueSpec> {
        self.graph().output.iter().map(ValueSpec::from_proto).collect()
    }

    /// SHA-256 of the canonical model: the same for two models that differ in names of inner values and nodes, doc strings,
    /// metadata or storage only.
    pub fn digest(&self) -> Digest {
        digest::of(self)
    }

    /// Bytes of the encoded model, weights in other files counted in.
    pub fn encoded_len(&self) -> usize {
        usize::try_from(self.proto.compute_size()).unwrap_or(usize::MAX)
    }

    /// The model as one message, external data taken in.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        let encode = |p: &ModelProto| p.write_to_bytes().map_err(|e| WriteError::Encode(e.to_string()));
        if !self.external {
            return encode(&self.proto);
        }
        let mut inline = self.proto.clone();
        external::take_in(&mut inline);
        encode(&inline)
    }

    /// Writes the model atomically. Where the weights were external, or do not fit into one message, they go to
    /// `<file name>.data` beside it, which is written first.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        if !self.external && self.proto.compute_size() < MESSAGE_LIMIT {
            return write_atomically(path, &self.to_bytes()?);
        }
        let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let data_name = format!("{file_name}.data");
        let mut split = self.proto.clone();
        external::take_in(&mut split);
        let data = external::put_out(&mut split, &data_name);
        let message = split.write_to_bytes().map_err(|e| WriteError::Encode(e.to_string()))?;
        write_atomically(&path.with_file_name(&data_name), &data)?;
        write_atomically(path, &message)
    }
}

/// Temporary file in the same folder, fsync, rename: a reader sees the old file or the new one.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    use std::io::Write;
    let io = |source| WriteError::Io { path: path.into(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".plimsoll-").tempfile_in(folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}
