//! Render workers as child processes: what becomes of templates that never end.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tidegate_controller::render_worker::ChildWorkers;
use tidegate_renderer::worker::{Job, RegionJob, TemplateSource, TemplateWorker, WorkerError};

fn workers() -> ChildWorkers {
    ChildWorkers::running(env!("CARGO_BIN_EXE_tidegate").into())
}

fn job(text: &str, regions: usize) -> Job {
    let many: Vec<_> = (0..1000).collect();
    Job {
        templates: vec![TemplateSource {
            file: "templates/a.yaml.hbs".to_owned(),
            partial: None,
            region: None,
            text: text.to_owned(),
        }],
        expressions: Vec::new(),
        regions: (0..regions)
            .map(|index| RegionJob {
                region: format!("region-{index}"),
                context: json!({ "name": format!("region-{index}"), "many": many }),
                templates: vec![0],
                expressions: false,
            })
            .collect(),
    }
}

#[test]
fn every_region_is_answered_once() {
    let answers = Mutex::new(Vec::new());
    let answer = |given: tidegate_renderer::worker::RegionAnswer| {
        answers
            .lock()
            .unwrap()
            .push((given.index, given.outputs[0].clone().unwrap()));
    };
    workers().run(&job("name: {{name}}", 20), &answer).unwrap();
    let mut answers = answers.into_inner().unwrap();
    answers.sort();
    let wanted: Vec<_> = (0..20)
        .map(|index| (index, format!("name: region-{index}")))
        .collect();
    assert_eq!(answers, wanted);
}

#[test]
fn a_template_that_never_ends_is_stopped_and_its_region_named() {
    let each = "{{#each @root.many}}".repeat(5) + &"{{/each}}".repeat(5);
    let error = workers()
        .deadline(Duration::from_millis(300))
        .run(&job(&each, 1), &|_| {})
        .unwrap_err();
    assert_eq!(
        error,
        WorkerError::Stopped {
            reason: "it took longer than 300ms".to_owned(),
            regions: vec!["region-0".to_owned()],
        }
    );
}

#[test]
fn templates_that_do_not_parse_are_refused_before_any_region() {
    let error = workers()
        .run(&job("{{#if name}}", 3), &|_| panic!("nothing to answer"))
        .unwrap_err();
    assert!(matches!(error, WorkerError::Templates(_)), "{error:?}");
}

#[test]
fn a_program_that_is_no_worker_is_broken_and_no_verdict() {
    let error = ChildWorkers::running("/bin/true".into())
        .run(&job("a", 1), &|_| {})
        .unwrap_err();
    assert!(matches!(error, WorkerError::Broken { .. }), "{error:?}");
}
