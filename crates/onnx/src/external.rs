//! External data: loading them on read, splitting them off on write.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::{Component, Path},
};

use onnx_protobuf::{
    GraphProto, Message, ModelProto, NodeProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation,
};

use crate::{Absent, DType, TensorError, tensor};

/// Weights smaller than this stay inside the message.
const SPLIT_FROM: usize = 1024;
/// Offsets are multiples of this, so that a client can map the file (ONNX specification, "External Tensor Data").
const ALIGNMENT: usize = 4096;
/// Tensors may share a region of a data file, but not without end.
const SHARING: u64 = 8;

type Failure = (String, String);

/// Loads every external tensor; true if there was one. Where `absent` is given, it takes up the tensors whose file is not there,
/// which then hold no data.
pub(crate) fn load(
    proto: &mut ModelProto,
    folder: Option<&Path>,
    mut absent: Option<&mut Vec<Absent>>,
) -> Result<bool, Failure> {
    let mut sizes: HashMap<String, u64> = HashMap::new();
    let mut loaded = 0u64;
    let mut any = false;
    for_each_tensor(proto, &mut |tensor: &mut TensorProto| {
        if !is_external(tensor) {
            return Ok(());
        }
        any = true;
        let fail = |reason: String| (tensor.name.clone(), reason);
        let folder = folder.ok_or_else(|| fail("there is no folder to look in".into()))?;
        let field = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = field("location").ok_or_else(|| fail("it names no location".into()))?.to_owned();
        let number = |key: &str| {
            field(key).map(|v| v.parse::<u64>().map_err(|_| fail(format!("{key} `{v}` is no number")))).transpose()
        };
        let offset = number("offset")?.unwrap_or(0);
        let expected = expected_bytes(tensor).map_err(|e| fail(e.to_string()))?;
        let mut file = match open(folder, &location) {
            Ok(file) => file,
            Err(Closed::Missing(reason)) => match absent.as_deref_mut() {
                Some(absent) => {
                    let reason = format!("its file `{location}` is not there");
                    absent.push(Absent { name: name_of(tensor), reason });
                    // Nothing is left to look for.
                    tensor.data_location = DataLocation::DEFAULT.into();
                    tensor.external_data.clear();
                    return Ok(());
                }
                None => return Err(fail(reason)),
            },
            Err(Closed::Refused(reason)) => return Err(fail(reason)),
        };
        let size = file.metadata().map_err(|e| fail(format!("{location}: {e}")))?.len();
        let length = number("length")?.unwrap_or(size.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(fail(format!("{location} has {size} bytes; {length} from {offset} on are asked for")));
        }
        if let Some(expected) = expected
            && expected != length
        {
            return Err(fail(format!("{location} gives {length} bytes; dtype and shape ask for {expected}")));
        }
        sizes.insert(location.clone(), size);
        loaded += length;
        if loaded > sizes.values().sum::<u64>().saturating_mul(SHARING) {
            return Err(fail(format!("more than {SHARING} times the size of the data files is asked for")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|e| fail(e.to_string()))?];
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|e| fail(format!("{location}: {e}")))?;
        tensor.raw_data = bytes;
        Ok(())
    })?;
    Ok(any)
}

/// The files that an encoded model keeps weights in, as it names them; nothing is opened. Empty where the bytes are no model.
pub fn external_files(bytes: &[u8]) -> Vec<String> {
    let Ok(mut proto) = ModelProto::parse_from_bytes(bytes) else { return Vec::new() };
    let mut files = BTreeSet::new();
    let _: Result<(), ()> = for_each_tensor(&mut proto, &mut |tensor| {
        let named = tensor.external_data.iter().filter(|e| e.key == "location");
        files.extend(named.filter(|_| is_external(tensor)).map(|e| e.value.clone()));
        Ok(())
    });
    files.into_iter().collect()
}

/// Why a data file cannot be opened.
enum Closed {
    /// There is none.
    Missing(String),
    /// It may not be read, or cannot.
    Refused(String),
}

/// Opens a data file inside the model's folder; anything that leads out of it is refused.
fn open(folder: &Path, location: &str) -> Result<File, Closed> {
    let path = Path::new(location);
    let inside = !location.contains(['\\', '\0'])
        && path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(Closed::Refused(format!("`{location}` leaves the model's folder")));
    }
    let full = folder.join(path);
    let why = |e: std::io::Error| {
        let text = format!("{}: {e}", full.display());
        if e.kind() == ErrorKind::NotFound { Closed::Missing(text) } else { Closed::Refused(text) }
    };
    let (real, root) = (full.canonicalize().map_err(why)?, folder.canonicalize().map_err(why)?);
    if !real.starts_with(root) {
        return Err(Closed::Refused(format!("`{location}` leaves the model's folder by a symbolic link")));
    }
    if !real.is_file() {
        return Err(Closed::Refused(format!("{} is not a regular file", full.display())));
    }
    File::open(&real).map_err(why)
}

/// Bytes that dtype and shape ask for; `None` for dtypes that are not known.
fn expected_bytes(proto: &TensorProto) -> Result<Option<u64>, TensorError> {
    let Some(dtype) = DType::from_onnx(proto.data_type) else { return Ok(None) };
    let shape = tensor::shape_of(proto)?;
    let bytes = tensor::elements_of(&shape).and_then(|n| dtype.bytes_of(n));
    bytes
        .map(|b| Some(b as u64))
        .ok_or_else(|| TensorError::Dims { name: proto.name.clone(), dims: proto.dims.clone() })
}

/// The name of a tensor for messages; constants inside nodes mostly have none.
fn name_of(tensor: &TensorProto) -> String {
    if tensor.name.is_empty() { "(a constant in a node)".into() } else { tensor.name.clone() }
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL)
}

/// Makes every loaded external tensor an ordinary one.
pub(crate) fn take_in(proto: &mut ModelProto) {
    let _: Result<(), ()> = for_each_tensor(proto, &mut |tensor| {
        if is_external(tensor) {
            tensor.data_location = DataLocation::DEFAULT.into();
            tensor.external_data.clear();
        }
        Ok(())
    });
}

/// Moves the data of the larger initializers into one block, to be written as `location`.
pub(crate) fn put_out(proto: &mut ModelProto, location: &str) -> Vec<u8> {
    let mut block = Vec::new();
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value, ..Default::default() };
    for tensor in &mut proto.graph.mut_or_insert_default().initializer {
        if tensor.raw_data.len() < SPLIT_FROM {
            continue;
        }
        block.resize(block.len().next_multiple_of(ALIGNMENT), 0);
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", block.len().to_string()),
            entry("length", tensor.raw_data.len().to_string()),
        ];
        tensor.data_location = DataLocation::EXTERNAL.into();
        block.append(&mut tensor.raw_data);
    }
    block
}

/// Checks that each tensor has the data its dtype and shape ask for, in whichever field they are. Where `absent` is given, it takes up
/// the tensors that hold none.
pub(crate) fn check_weights(proto: &mut ModelProto, mut absent: Option<&mut Vec<Absent>>) -> Result<(), TensorError> {
    let known: HashSet<String> = absent.iter().flat_map(|a| a.iter().map(|a| a.name.clone())).collect();
    for_each_tensor(proto, &mut |t: &mut TensorProto| {
        let shape = tensor::shape_of(t)?;
        let (Some(dtype), Some(expected)) = (DType::from_onnx(t.data_type), expected_bytes(t)?) else { return Ok(()) };
        let (expected, found) = (expected as usize, tensor::data_len(t, dtype));
        if expected != found {
            if let Some(absent) = absent.as_deref_mut().filter(|_| found == 0) {
                if !known.contains(&name_of(t)) {
                    absent.push(Absent { name: name_of(t), reason: "it is declared without data".into() });
                }
                return Ok(());
            }
            return Err(TensorError::Length { name: t.name.clone(), dtype, shape, expected, found });
        }
        Ok(())
    })
}

type Visit<'f, E> = &'f mut dyn FnMut(&mut TensorProto) -> Result<(), E>;

/// Visits every tensor of a model: initializers, attributes, nested graphs, functions, training graphs.
fn for_each_tensor<E>(proto: &mut ModelProto, visit: Visit<'_, E>) -> Result<(), E> {
    if let Some(graph) = proto.graph.as_mut() {
        in_graph(graph, visit)?;
    }
    for training in &mut proto.training_info {
        for graph in training.initialization.as_mut().into_iter().chain(training.algorithm.as_mut()) {
            in_graph(graph, visit)?;
        }
    }
    proto.functions.iter_mut().try_for_each(|f| in_nodes(&mut f.node, visit))
}

fn in_graph<E>(graph: &mut GraphProto, visit: Visit<'_, E>) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    for sparse in &mut graph.sparse_initializer {
        sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()).try_for_each(&mut *visit)?;
    }
    in_nodes(&mut graph.node, visit)
}

fn in_nodes<E>(nodes: &mut [NodeProto], visit: Visit<'_, E>) -> Result<(), E> {
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        attribute.t.as_mut().into_iter().chain(&mut attribute.tensors).try_for_each(&mut *visit)?;
        for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
            in_graph(graph, visit)?;
        }
        for sparse in attribute.sparse_tensor.as_mut().into_iter().chain(&mut attribute.sparse_tensors) {
            sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()).try_for_each(&mut *visit)?;
        }
    }
    Ok(())
}
