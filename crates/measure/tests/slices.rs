//! Evaluating samples that stay in their file gives what evaluating them in memory gives, whatever the batch and the threads.

mod support;

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::{Archive, Dataset, Samples};
use plimsoll_measure::{EvaluationOptions, MeasureError, evaluate};
use plimsoll_onnx::{DType, Digest, Model, Tensors, ValueSpec};
use plimsoll_record::Figure;
use plimsoll_runtime::TractExecutor;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sleep-wake").join(name)
}

fn figures(data: &dyn Samples, batch: usize, threads: usize) -> Vec<Figure> {
    let model = Model::read(&fixture("model.onnx")).unwrap();
    let options = EvaluationOptions { batch, threads, ..EvaluationOptions::default() };
    let found = evaluate(&TractExecutor, &model, Some(&model), data, &options).unwrap();
    let mut all = [found.figures, found.classes, found.groups].concat();
    // The machine's facts hold the number of threads.
    all.iter_mut().for_each(|f| f.machine.threads = 0);
    all
}

#[test]
fn figures_are_those_of_the_samples_read_whole() {
    let path = fixture("valid.npz");
    let whole = figures(&Dataset::read_npz(&path).unwrap(), 16, 1);
    assert!(whole.iter().any(|f| f.metric == "auc") && whole.iter().any(|f| f.metric == "kappa-drop"));
    // 7 and 50 do not divide the samples; a batch changes the last bits of a score, so that figures of one batch are compared.
    for batch in [7, 50] {
        let whole = figures(&Dataset::read_npz(&path).unwrap(), batch, 1);
        for threads in [1, 2, 5] {
            assert_eq!(figures(&Archive::open(&path).unwrap(), batch, threads), whole, "{batch} {threads}");
        }
    }
}

/// Samples whose reading fails after some slices.
struct Failing(Dataset);

impl Samples for Failing {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn count(&self) -> usize {
        self.0.count()
    }
    fn arrays(&self) -> BTreeMap<&str, (DType, &[usize])> {
        self.0.arrays()
    }
    fn label(&self) -> Option<&[i64]> {
        self.0.label()
    }
    fn target(&self) -> Option<&[f64]> {
        self.0.target()
    }
    fn group(&self) -> Option<&[i64]> {
        self.0.group()
    }
    fn for_each_slice(
        &self,
        size: usize,
        take: &mut dyn FnMut(Tensors) -> std::ops::ControlFlow<()>,
    ) -> Result<(), plimsoll_dataset::DatasetError> {
        self.0.take(self.0.count() / 2).for_each_slice(size, take)?;
        Err(plimsoll_dataset::DatasetError::NoLabels(self.path().into()))
    }
    fn sample_digests(&self) -> Result<Vec<Digest>, plimsoll_dataset::DatasetError> {
        self.0.sample_digests()
    }
    fn digest(&self) -> Result<Digest, plimsoll_dataset::DatasetError> {
        Ok(self.0.digest())
    }
    fn check_shapes(&self, inputs: &[ValueSpec]) -> Result<(), plimsoll_dataset::DatasetError> {
        self.0.check_shapes(inputs)
    }
}

#[test]
fn samples_that_cannot_be_read_to_their_end_give_no_figures_and_leave_no_thread_waiting() {
    let data = Failing(support::data(&[1.0; 40], &[0; 40], None));
    for threads in [1, 3] {
        let options = EvaluationOptions { batch: 2, threads, ..EvaluationOptions::default() };
        let error = evaluate(&TractExecutor, &support::linear(0, &[1.0, -1.0]), None, &data, &options).unwrap_err();
        assert!(matches!(error, MeasureError::Data(_)), "{error}");
    }
}

#[test]
fn a_failing_run_ends_reading_on_every_number_of_threads() {
    let data = support::data(&[1.0; 40], &[0; 40], None);
    let mut proto = support::linear(0, &[1.0, -1.0]).proto().clone();
    proto.graph.as_mut().unwrap().node[0].op_type = "NoSuchOperator".into();
    let model = Model::from_proto(proto).unwrap();
    for threads in [1, 3] {
        let options = EvaluationOptions { batch: 2, threads, ..EvaluationOptions::default() };
        let error = evaluate(&TractExecutor, &model, None, &data, &options).unwrap_err();
        assert!(matches!(error, MeasureError::Exec(_)), "{error}");
    }
}
