//! The same input gives the same bits, whatever else the machine does and however many threads
//! there are.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use bissl::kernels::Kernels;
use bissl::network::loss::{gauss_newton_product, hessian_product, value_and_gradient};
use bissl::network::pretext::NtXent;
use bissl::network::{Architecture, Curvature, Stem};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::support::{Case, TEMPERATURE, random, resnet};

const RUNS: usize = 20;
const THREADS: [usize; 5] = [1, 2, 3, 4, 7];
const BUSY: usize = 3;

fn add<const D: usize>(hasher: &mut DefaultHasher, tensor: &Tensor<B, D>) {
    tensor.to_data().as_bytes().hash(hasher);
}

/// Large enough that every kernel cuts its work into several chunks.
fn case() -> Case<B> {
    let settings = resnet(Architecture::ResNetSmall, 8, Stem::ImageNet);
    // A software device takes minutes for what a CPU backend does in seconds.
    let (batch, side) = if B::ON_HOST { (24, 34) } else { (8, 17) };
    Case::new(settings, &[48, 32], (batch, side), 0.1, 5)
}

/// Hash of everything that one training step and one product of each kind leave behind.
fn step_and_products(case: &Case<B>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let loss = NtXent { temperature: TEMPERATURE };
    let step = case.tower().gradients(&case.parameters, case.views.clone(), &loss, true);
    step.loss.to_bits().hash(&mut hasher);
    let backbone = step.backbone.as_ref().unwrap();
    add(&mut hasher, &B::axpby(-0.1, backbone, 1.0, case.parameters.backbone.clone()));
    add(&mut hasher, &B::axpby(-0.1, &step.head, 1.0, case.parameters.head.clone()));
    let zeros = |len: usize| Tensor::zeros([len], &backbone.device());
    let running = (zeros(case.backbone.statistics().len()), zeros(case.head.statistics().len()));
    let running = step.updated_statistics(case.tower(), running);
    add(&mut hasher, &running.0);
    add(&mut hasher, &running.1);
    let direction = case.direction(6);
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let product = case.linearize(curvature).product(&direction);
        add(&mut hasher, &product);
        let offsets = case.backbone.parameters().offsets();
        for dot in B::segment_dots(&[(&product, &direction), (&product, &product)], &offsets) {
            dot.to_bits().hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Runs `work` while other threads keep the processor busy.
fn under_load<R>(work: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..BUSY {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Runs `work` in a pool of its own.
fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn a_step_and_its_products_repeat_bit_for_bit_under_load() {
    let case = case();
    let first = step_and_products(&case);
    let again: Vec<u64> = under_load(|| (1..RUNS).map(|_| step_and_products(&case)).collect());
    assert!(again.iter().all(|hash| *hash == first), "{first:x} and then {again:x?}");
}

#[test]
fn a_step_and_its_products_do_not_depend_on_the_number_of_threads() {
    let case = case();
    let hashes = THREADS.map(|threads| with_threads(threads, || step_and_products(&case)));
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{THREADS:?} threads: {hashes:x?}");
}

/// The loss is Burn's own arithmetic; a full batch of it, where Burn may go parallel.
fn loss_of_a_large_batch() -> u64 {
    let mut hasher = DefaultHasher::new();
    let loss = NtXent { temperature: TEMPERATURE };
    let shape = if B::ON_HOST { [256, 192] } else { [64, 48] };
    let outputs = [random::<B, 2>(1, shape), random(2, shape)];
    let dots = [random::<B, 2>(3, shape), random(4, shape)];
    let (value, gradient) = value_and_gradient(&loss, &outputs);
    value.to_bits().hash(&mut hasher);
    let hessian = hessian_product(&loss, &outputs, &dots);
    let gauss_newton = gauss_newton_product(&loss, &outputs, &dots);
    for tensor in gradient.iter().chain(&hessian).chain(&gauss_newton) {
        add(&mut hasher, tensor);
    }
    hasher.finish()
}

#[test]
fn the_loss_of_a_large_batch_does_not_depend_on_the_number_of_threads() {
    let hashes = THREADS.map(|threads| with_threads(threads, loss_of_a_large_batch));
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{THREADS:?} threads: {hashes:x?}");
    let again: Vec<u64> = under_load(|| (0..RUNS).map(|_| loss_of_a_large_batch()).collect());
    assert!(again.iter().all(|hash| *hash == hashes[0]), "{:x} and then {again:x?}", hashes[0]);
}
