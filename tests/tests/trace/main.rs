//! A bilevel stage driven by the host's tensors, replayed through the core as the firmware builds
//! it.

use std::io::Write;
use std::sync::Arc;

use bissl::data::{Inputs, Labelled, Targets, TwoViews};
use bissl::driver::{Classification, Networks, Problem, ProblemSettings, Sources};
use bissl::network::multi_label::MultiLabel;
use bissl::network::pretext::NtXent;
use bissl::network::{
    Architecture, BackboneSettings, Curvature, Recompute, StatisticsUpdates, Stem, backbone,
    classifier, mlp_head, output_width,
};
use bissl_core::{
    Alternation, AlternationSettings, CgSettings, Completion, Coupling, Driver, Group,
    HypergradientSettings, Level, Machine, Optimizer, Pending, Register, Reply, Request, Schedule,
    SolverSettings, Stream, Training,
};

#[cfg(feature = "candle")]
type B = bissl::kernels::Candle;
#[cfg(all(feature = "flex", not(feature = "candle")))]
type B = bissl::kernels::Flex;
#[cfg(not(any(feature = "flex", feature = "candle")))]
type B = bissl::kernels::NdArray;

const BATCH: u32 = 6;
const SIZE: u32 = 8;
const CLASSES: usize = 3;

/// Images of uniform noise: a trace needs numbers, not pictures.
fn noise(seed: u64, step: u32) -> Vec<f32> {
    let len = BATCH * 3 * SIZE * SIZE;
    let stream = Stream::new(seed, 900);
    let base = u64::from(step) << 32;
    (0..len).map(|i| stream.at(base | u64::from(i)).uniform_in(-1.0, 1.0)).collect()
}

fn sources() -> Sources {
    let views = |seed: u64| {
        move |step: u32| {
            let views = Inputs::Values([noise(seed, step), noise(seed + 1, step)]);
            Ok(TwoViews { views, batch: BATCH, shape: [3, SIZE as usize, SIZE as usize] })
        }
    };
    let labelled = |step: u32| {
        let labels = (0..BATCH).map(|i| (i + step) % CLASSES as u32).collect();
        let labels = Targets::Classes(labels);
        Ok(Labelled {
            images: Inputs::Values([noise(5, step)]),
            labels,
            batch: BATCH,
            shape: [3, SIZE as usize, SIZE as usize],
        })
    };
    Sources {
        lower: Some(Box::new(views(1))),
        product: Some(Box::new(views(3))),
        upper: Some(Box::new(labelled)),
    }
}

fn machine() -> Alternation {
    let (alternations, lower_steps, upper_steps) = (2, 3, 2);
    let lars = Optimizer::Lars { momentum: 0.9, weight_decay: 1e-4, trust: 0.01 };
    let sgd = Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-3 };
    let lower = Level {
        steps: lower_steps,
        optimizer: lars,
        schedule: Schedule::new(0.5, 1, alternations * lower_steps, 0.01).unwrap(),
        clip: Some(1.0),
    };
    let upper = Level {
        steps: upper_steps,
        optimizer: sgd,
        schedule: Schedule::new(0.1, 0, alternations * upper_steps, 0.01).unwrap(),
        clip: Some(10.0),
    };
    let solver = SolverSettings::ConjugateGradient(CgSettings::new(0.01, 5).unwrap());
    let coupling = Coupling::Proximity { weight: 0.01 };
    let hypergradient = HypergradientSettings::new(coupling, 10.0, 1.0, solver).unwrap();
    Alternation::new(AlternationSettings::new(alternations, lower, upper, hypergradient).unwrap())
}

/// Drives the stage on tensors and writes its trace; returns the number of requests and how it
/// ended.
fn record(out: &mut impl Write) -> (u64, Completion) {
    let settings =
        BackboneSettings { architecture: Architecture::ResNetSmall, width: 4, stem: Stem::Small };
    let features = output_width(settings);
    let networks = Networks {
        backbone: backbone(settings),
        pretext_head: mlp_head(features, &[8, 8]),
        target_head: None,
        classifier: classifier(features, CLASSES),
    };
    let curvature = Curvature::Hessian;
    let device = Default::default();
    let settings = ProblemSettings {
        pretext: Arc::new(NtXent { temperature: 0.5 }),
        downstream: Arc::new(Classification {
            classes: CLASSES,
            multi_label: MultiLabel::Binary,
            class_weights: None,
        }),
        curvature,
        recompute: Recompute::Nothing,
        statistics: StatisticsUpdates::LowerSteps,
        lasting: Vec::new(),
        seed: 1,
    };
    let mut problem = Problem::<B>::new(&networks, device, sources(), settings);
    let groups = [
        (Group::LowerBackbone, &networks.backbone),
        (Group::UpperBackbone, &networks.backbone),
        (Group::PretextHead, &networks.pretext_head),
        (Group::DownstreamHead, &networks.classifier),
    ];
    for (group, network) in groups {
        let initial = network.parameters().initial(Stream::new(7, 1));
        problem.registers.write(Register::Parameter(group), initial).unwrap();
    }

    let mut machine = machine();
    let mut scalars = vec![0.0f32; problem.registers.scalars()];
    let mut requests = 0;
    writeln!(out, "{}", serde_json::json!({ "machine": machine })).unwrap();
    loop {
        match machine.pending() {
            Pending::Request(ticket, request) => {
                let reply = Training(&mut problem).perform(&request, &mut scalars).unwrap();
                write_line(out, &request, reply, &scalars);
                machine.step(ticket, reply, &mut scalars).unwrap();
                requests += 1;
            }
            Pending::Event(ticket, _) => {
                machine.step(ticket, Reply::Ack, &mut scalars).unwrap();
            }
            Pending::Done(completion) => return (requests, completion),
        }
    }
}

fn write_line(out: &mut impl Write, request: &Request, reply: Reply, scalars: &[f32]) {
    let count = match reply {
        Reply::Ack => 0,
        Reply::Scalars(count) => count as usize,
    };
    let bits: Vec<u32> = scalars[..count].iter().map(|scalar| scalar.to_bits()).collect();
    let line = serde_json::json!({ "request": request, "reply": reply, "scalars": bits });
    writeln!(out, "{line}").unwrap();
}

#[test]
fn a_trace_of_the_host_replays_through_the_core_of_the_firmware() {
    let mut trace = Vec::new();
    let (requests, completion) = record(&mut trace);
    assert_eq!(completion, Completion::Finished);
    if let Some(path) = std::env::var_os("BISSL_TRACE") {
        // The trace that the board images replay is stored where the next test reads it.
        std::fs::write(path, &trace).unwrap();
    }
    let report = bissl_firmware_sim::replay(trace.as_slice()).unwrap();
    assert_eq!(report.requests, requests);
    assert_eq!(report.completion, Some(Completion::Finished));
    // 6 lower steps, 4 upper steps, 2 alternations.
    assert_eq!(report.events, 12);
}

/// The test above records the trace with `BISSL_TRACE`; `firmware-sim/boards` replays it on bare
/// metal.
#[test]
fn the_stored_trace_still_replays() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware-sim/harness/data/host-trace.jsonl");
    let file = std::fs::File::open(path).unwrap();
    let report = bissl_firmware_sim::replay(std::io::BufReader::new(file)).unwrap();
    assert_eq!(report.completion, Some(Completion::Finished));
    assert!(report.requests > 100, "{report:?}");
}

#[test]
fn a_scalar_that_differs_in_one_bit_is_noticed() {
    let mut trace = Vec::new();
    record(&mut trace);
    let text = String::from_utf8(trace).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // A squared norm in the reply to the first clipping determines the factor of the next request.
    let norms = |line: &String| line.contains("\"Dots\"") && line.contains("PretextHeadGradient");
    let place = lines.iter().position(norms).unwrap();
    let mut line: serde_json::Value = serde_json::from_str(&lines[place]).unwrap();
    let bits = line["scalars"][0].as_u64().unwrap();
    // This is the highest bit of the mantissa: the norm, and so the factor, change by tens of per
    // cent.
    line["scalars"][0] = (bits ^ (1 << 22)).into();
    lines[place] = line.to_string();
    let error = bissl_firmware_sim::replay(lines.join("\n").as_bytes()).unwrap_err();
    assert!(error.to_string().contains("asks for"), "{error}");
}
