//! npz archives as users and attackers write them.

use std::{fs, io::Write, path::PathBuf};

use plimsoll_dataset::{Dataset, DatasetError};
use plimsoll_onnx::{DType, DimSpec, Tensor, Tensors, ValueSpec};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fn npy(version: u8, descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY".to_vec();
    out.extend([version, 0]);
    match version {
        1 => out.extend((header.len() as u16).to_le_bytes()),
        _ => out.extend((header.len() as u32).to_le_bytes()),
    }
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn f4(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn archive(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read(bytes: &[u8]) -> Result<Dataset, DatasetError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("data.npz");
    fs::write(&path, bytes).unwrap();
    Dataset::read_npz(&path)
}

/// Reads an archive of these arrays.
fn check(arrays: &[(&str, Vec<u8>)]) -> Result<Dataset, DatasetError> {
    read(&archive(arrays))
}

#[track_caller]
fn refused(result: Result<Dataset, DatasetError>, says: &str) {
    let error = result.expect_err("this must be refused");
    assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
}

#[test]
fn every_version_order_and_byte_order_gives_the_same_numbers() {
    let big: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    let rows = f4(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let columns = f4(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let expected = Tensor::from_elements(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    for array in [
        npy(1, "<f4", false, "(2, 3)", &rows),
        npy(2, "<f4", false, "(2, 3)", &rows),
        npy(3, "<f4", false, "(2, 3)", &rows),
        npy(1, "<f4", true, "(2, 3)", &columns),
        npy(1, ">f4", false, "(2, 3)", &big),
    ] {
        assert_eq!(check(&[("x", array)]).unwrap().inputs()["x"], expected);
    }
}

#[test]
fn labels_and_groups_are_kept_apart_and_texts_are_numbered() {
    let texts: Vec<u8> =
        ["b\0", "a\0", "b\0"].iter().flat_map(|t| t.chars().flat_map(|c| (c as u32).to_le_bytes())).collect();
    let data = check(&[
        ("x", npy(1, "<f4", false, "(3, 1)", &f4(&[1.0, 2.0, 3.0]))),
        ("label", npy(1, "|u1", false, "(3,)", &[2, 0, 1])),
        ("group", npy(1, "<U2", false, "(3,)", &texts)),
    ])
    .unwrap();
    assert_eq!((data.len(), data.label().unwrap(), data.group().unwrap()), (3, &[2, 0, 1][..], &[1, 0, 1][..]));
    assert_eq!(data.sample(1)["x"].to_vec::<f32>().unwrap(), [2.0]);
    assert_eq!(data.batch(1..9)["x"].shape(), [2, 1]);
    assert_eq!(data.take(2).label().unwrap(), [2, 0]);
}

#[test]
fn labels_that_are_texts_or_tables_are_not_guessed_at() {
    let one = |label: Vec<u8>| check(&[("x", npy(1, "<f4", false, "(1, 1)", &f4(&[1.0]))), ("label", label)]);
    let error = one(npy(1, "|S3", false, "(1,)", b"cat")).unwrap_err();
    assert!(error.to_string().contains("texts") && error.help().unwrap().contains("class numbers"), "{error}");
    refused(one(npy(1, "<i8", false, "(1, 1)", &[0; 8])), "whole numbers");
}

#[test]
fn labels_that_are_floats_are_targets_and_not_classes() {
    let of = |shape: &str, label: &[f32]| {
        let x = npy(1, "<f4", false, "(2, 1)", &f4(&[1.0, 2.0]));
        check(&[("x", x), ("label", npy(1, "<f4", false, shape, &f4(label)))])
    };
    let data = of("(2, 2)", &[0.5, 1.0, 1.5, 2.0]).unwrap();
    assert_eq!((data.label(), data.target()), (None, Some(&[0.5, 1.0, 1.5, 2.0][..])));
    assert_eq!(data.take(1).target(), Some(&[0.5, 1.0][..]));
    assert_ne!(data.digest(), of("(2, 2)", &[0.5, 1.0, 1.5, 2.5]).unwrap().digest());
    refused(of("(3,)", &[0.5, 1.0, 1.5]), "3 values for 2 samples");
    refused(of("(2,)", &[0.5, f32::NAN]), "NaN for sample 1");
}

#[test]
fn pickled_objects_structures_and_unknown_dtypes_are_refused_by_name() {
    refused(check(&[("x", npy(1, "|O", false, "(1,)", b"cos\nsystem"))]), "pickled");
    refused(check(&[("x", npy(1, "<c8", false, "(1,)", &[0; 8]))]), "<c8");
    refused(check(&[("x", npy(1, "<M8[ns]", false, "(1,)", &[0; 8]))]), "<M8[ns]");
}

#[test]
fn headers_that_lie_are_refused() {
    let two = f4(&[1.0, 2.0]);
    refused(check(&[("x", npy(1, "<f4", false, "(500000000,)", &two))]), "needs 2000000000 bytes");
    refused(check(&[("x", npy(1, "<f4", false, "(18446744073709551615, 8)", &two))]), "impossible");
    refused(check(&[("x", npy(1, "<f4", false, "(-2,)", &two))]), "malformed");
    refused(check(&[("x", npy(9, "<f4", false, "(2,)", &two))]), "version 9");
    refused(check(&[("x", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{'descr'".to_vec())]), "cut off");
    refused(check(&[("x", vec![])]), "npy");
    refused(check(&[("x", npy(1, "<f4", false, "()", &f4(&[1.0])))]), "scalar");
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let whole = archive(&[("x", npy(1, "<f4", false, "(2,)", &f4(&[1.0, 2.0])))]);
    assert!(read(&whole).is_ok());
    (0..whole.len()).for_each(|n| assert!(read(&whole[..n]).is_err(), "{n} bytes"));
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![0u8; 80 << 20];
    refused(check(&[("x", npy(1, "|u1", false, "(83886080,)", &zeros))]), "more than is unpacked");
}

#[test]
fn an_array_that_stands_twice_is_refused() {
    let array = |v: f32| npy(1, "<f4", false, "(1,)", &f4(&[v]));
    let mut bytes = archive(&[("xa", array(1.0)), ("xb", array(2.0))]);
    let at: Vec<usize> = bytes.windows(6).enumerate().filter(|(_, w)| w == b"xb.npy").map(|(i, _)| i).collect();
    at.into_iter().for_each(|i| bytes[i + 1] = b'a');
    refused(read(&bytes), "twice");
}

#[test]
fn arrays_of_different_lengths_are_refused() {
    let x = npy(1, "<f4", false, "(2,)", &f4(&[1.0, 2.0]));
    refused(check(&[("x", x.clone()), ("label", npy(1, "<i8", false, "(1,)", &[0; 8]))]), "`label`");
    refused(check(&[("label", npy(1, "<i8", false, "(1,)", &[0; 8]))]), "no input");
}

fn spec(name: &str, dtype: DType, dims: &[DimSpec]) -> ValueSpec {
    ValueSpec { name: name.into(), dtype: Some(dtype), dims: Some(dims.to_vec()) }
}

#[test]
fn what_does_not_fit_the_model_is_refused_and_nothing_is_cast() {
    let free = || DimSpec::Symbol("N".into());
    let data = check(&[("imput", npy(1, "<f8", false, "(2, 1)", &[0; 16]))]).unwrap();
    let against = |specs: &[ValueSpec]| data.check_against(specs).map(|()| data.clone());
    refused(against(&[spec("input", DType::F64, &[free(), free()])]), "there is `imput`");
    refused(
        against(&[spec("imput", DType::F32, &[free(), free()])]),
        "is float64 [2, 1]; the model's input is float32",
    );
    refused(against(&[spec("imput", DType::F64, &[free(), DimSpec::Fixed(3)])]), "[2, 1]");
    refused(against(&[spec("imput", DType::F64, &[free()])]), "[2, 1]");
    refused(against(&[]), "no input of the model");
    assert!(against(&[spec("imput", DType::F64, &[free(), DimSpec::Fixed(1)])]).is_ok());
    let mismatch = data.check_against(&[spec("imput", DType::F32, &[free(), free()])]).unwrap_err();
    assert!(mismatch.help().unwrap().contains("astype(\"float32\")"));
}

#[test]
fn nan_is_refused_with_array_and_sample() {
    let data = check(&[("x", npy(1, "<f4", false, "(2, 2)", &f4(&[1.0, 2.0, f32::NAN, 4.0])))]).unwrap();
    refused(
        data.check_against(&[spec("x", DType::F32, &[DimSpec::Unknown, DimSpec::Fixed(2)])]).map(|()| data),
        "NaN in sample 1",
    );
}

#[test]
fn overlap_is_found_by_content_whatever_the_position() {
    let data = |values: &[f32]| {
        let x = Tensor::from_elements(&[values.len(), 1], values).unwrap();
        Dataset::new("memory".as_ref(), Tensors::from([("x".to_owned(), x)]), None, None).unwrap()
    };
    assert_eq!(data(&[1.0, 2.0, 3.0]).overlap(&data(&[9.0, 3.0])), [(2, 1)]);
    assert_ne!(data(&[1.0, 2.0]).digest(), data(&[2.0, 1.0]).digest());
    assert_eq!(data(&[1.0, 2.0]).digest(), data(&[1.0, 2.0]).digest());
}
