//! ONNX `test_data_set_*` folders: one protobuf tensor a file.

use std::path::Path;

use plimsoll_onnx::{Tensor, proto::Message, proto::TensorProto};

use crate::DatasetError;

/// Reads `input_0.pb`, `input_1.pb`, … or `output_0.pb`, … of a folder, in order, until a number is missing. An entry is an
/// error text where the file holds no dense numeric tensor (sequences, optionals, strings).
pub fn read_test_data_set(folder: &Path, kind: &str) -> Result<Vec<Result<Tensor, String>>, DatasetError> {
    let mut found = Vec::new();
    loop {
        let path = folder.join(format!("{kind}_{}.pb", found.len()));
        match std::fs::read(&path) {
            Ok(bytes) => {
                let proto = TensorProto::parse_from_bytes(&bytes).map_err(|e| e.to_string());
                found.push(proto.and_then(|p| Tensor::from_proto(&p).map_err(|e| e.to_string())));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(source) => return Err(DatasetError::Io { path, source }),
        }
    }
}
