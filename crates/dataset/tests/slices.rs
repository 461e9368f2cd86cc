//! Samples that are read slice by slice are those that are read whole.

use std::{fs, io::Write, ops::ControlFlow, path::Path};

use plimsoll_dataset::{Archive, Dataset, DatasetError, Samples, overlap};
use plimsoll_onnx::Tensors;
use plimsoll_stats::Random;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn archive(path: &Path, arrays: &[(&str, Vec<u8>)], method: CompressionMethod) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn slices(data: &dyn Samples, size: usize) -> Result<Vec<Tensors>, DatasetError> {
    let mut found = Vec::new();
    data.for_each_slice(size, &mut |slice| {
        found.push(slice);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Whatever the order of axes and bytes, the compression and the size of slices.
#[test]
fn slices_are_the_samples_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let mut random = Random::new(11);
    for case in 0..60 {
        let (len, width) = (1 + random.below(40), 1 + random.below(7));
        let descr = ["<f4", ">f4", "<f8", "<i2", ">i8", "|u1", "|b1"][random.below(7)];
        let bytes = |random: &mut Random, descr: &str, elements: usize| -> Vec<u8> {
            let value = |_| {
                let v = random.below(200) as f64 - 100.0;
                match descr {
                    "<f4" => (v as f32).to_le_bytes().to_vec(),
                    ">f4" => (v as f32).to_be_bytes().to_vec(),
                    "<f8" => v.to_le_bytes().to_vec(),
                    "<i2" => (v as i16).to_le_bytes().to_vec(),
                    ">i8" => (v as i64).to_be_bytes().to_vec(),
                    _ => vec![v as i64 as u8],
                }
            };
            (0..elements).flat_map(value).collect()
        };
        let method = [CompressionMethod::Stored, CompressionMethod::Deflated][case % 2];
        let shape = format!("({len}, {width}, 2)");
        let arrays = [
            ("a", npy(descr, random.below(2) == 0, &shape, &bytes(&mut random, descr, len * width * 2))),
            ("b", npy("<f4", false, &format!("({len},)"), &bytes(&mut random, "<f4", len))),
            ("label", npy("<i2", false, &format!("({len},)"), &bytes(&mut random, "<i2", len))),
            ("group", npy("|u1", false, &format!("({len},)"), &bytes(&mut random, "|u1", len))),
        ];
        archive(&path, &arrays, method);
        let (whole, parts) = (Dataset::read_npz(&path).unwrap(), Archive::open(&path).unwrap());
        let size = 1 + random.below(len + 3);
        let expected: Vec<Tensors> = (0..len).step_by(size).map(|i| whole.batch(i..i + size)).collect();
        assert_eq!(slices(&parts, size).unwrap(), expected, "case {case}");
        // Taken along by the pass above, and anew.
        assert_eq!(parts.digest().unwrap(), whole.digest());
        assert_eq!(Archive::open(&path).unwrap().digest().unwrap(), whole.digest());
        assert_eq!((parts.label(), parts.group(), parts.count()), (whole.label(), whole.group(), len));
        assert_eq!(parts.first(size).unwrap(), whole.batch(0..size));
        assert_eq!(overlap(&parts, &whole).unwrap(), whole.overlap(&whole));
    }
}

#[test]
fn a_pass_that_breaks_off_leaves_no_digests_of_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    archive(&path, &[("x", npy("|u1", false, "(9,)", &[7; 9]))], CompressionMethod::Stored);
    let data = Archive::open(&path).unwrap();
    data.for_each_slice(2, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!(data.sample_digests().unwrap().len(), 9);
}

#[test]
fn nan_is_found_in_a_later_slice_by_its_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let values: Vec<u8> = (0..20).flat_map(|i| if i == 15 { f32::NAN } else { 1.0 }.to_le_bytes()).collect();
    archive(&path, &[("x", npy("<f4", false, "(10, 2)", &values))], CompressionMethod::Deflated);
    let error = slices(&Archive::open(&path).unwrap(), 3).unwrap_err();
    assert!(error.to_string().contains("NaN in sample 7"), "{error}");
}

/// Damage behind the headers shows when the samples are read, by the zip's checksum at the latest.
#[test]
fn damaged_samples_are_refused_when_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let mut random = Random::new(3);
        let noise: Vec<u8> = (0..5000).map(|_| random.below(256) as u8).collect();
        archive(&path, &[("x", npy("|u1", false, "(50, 100)", &noise))], method);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3000] ^= 0x55;
        fs::write(&path, bytes).unwrap();
        let error = slices(&Archive::open(&path).unwrap(), 8).unwrap_err();
        assert!(error.to_string().contains("array `x`"), "{error}");
        assert!(Dataset::read_npz(&path).is_err());
    }
}

#[test]
fn a_file_that_was_exchanged_after_it_was_opened_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    archive(&path, &[("x", npy("|u1", false, "(6, 2)", &[1; 12]))], CompressionMethod::Stored);
    let data = Archive::open(&path).unwrap();
    archive(&path, &[("x", npy("|u1", false, "(12,)", &[1; 12]))], CompressionMethod::Stored);
    let error = slices(&data, 4).unwrap_err();
    assert!(error.to_string().contains("changed while it was read"), "{error}");
}
