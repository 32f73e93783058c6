//! Templates, and the conversation with the process that runs them.

use std::cell::RefCell;
use std::io::sink;
use std::sync::Mutex;

use serde_json::{Value, json};
use tidegate_renderer::worker::{
    Expression, InProcessWorker, Job, MAX_FILE_BYTES, RegionAnswer, RegionJob, TemplateProblem,
    TemplateSource, TemplateWorker as _, WorkerError, converse, serve,
};

use super::checks::is_bounded;
use super::parts::parts;

fn context() -> Value {
    json!({
        "name": "west", "location": "westus3", "cluster": "west-1", "labels": {"ring": "canary"},
        "values": {"replicas": 3, "image": "app:1", "list": [1, "two", null, true], "map": {"b": 2, "a": "x"}, "text": "a\nb", "empty": ""},
        "fleet": {"name": "shop"},
    })
}

fn problem(problem: &TemplateProblem) {
    is_bounded(&problem.message);
    if let Some(hint) = &problem.hint {
        is_bounded(hint);
    }
}

/// Parts named `_NAME` are partials, `region NAME` a partial of one region, `expression` a gate's text, others templates.
fn job(input: &[u8]) -> Job {
    let mut templates = Vec::new();
    let mut expressions = Vec::new();
    for (number, (name, bytes)) in parts(input).into_iter().enumerate() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if name == "expression" {
            expressions.push(Expression {
                file: "tidegate.yaml".to_owned(),
                line: 1,
                column: 1,
                label: "gates.a.http.url".to_owned(),
                text,
            });
            continue;
        }
        let region = name.strip_prefix("region ");
        templates.push(TemplateSource {
            file: format!("templates/{number}.yaml.hbs"),
            partial: region.or_else(|| name.strip_prefix('_')).map(str::to_owned),
            region: region.map(|_| "west".to_owned()),
            text,
        });
    }
    let run = (0..templates.len())
        .filter(|index| {
            templates
                .get(*index)
                .is_some_and(|one| one.partial.is_none())
        })
        .collect();
    Job {
        templates,
        expressions,
        regions: vec![RegionJob {
            region: "west".to_owned(),
            context: context(),
            templates: run,
            expressions: true,
        }],
    }
}

fn run(job: &Job) -> Result<Vec<RegionAnswer>, WorkerError> {
    let answers = Mutex::new(Vec::new());
    InProcessWorker.run(job, &|answer| {
        if let Ok(mut answers) = answers.lock() {
            answers.push(answer);
        }
    })?;
    Ok(answers.into_inner().unwrap_or_default())
}

/// Guards, then the templates themselves: outputs within bounds, problems plain, the same a second time.
pub(super) fn templates(input: &[u8]) {
    let job = job(input);
    let once = run(&job);
    match &once {
        Ok(answers) => {
            assert_eq!(answers.len(), 1);
            for answer in answers {
                for output in &answer.outputs {
                    match output {
                        Ok(text) => assert!(text.len() <= MAX_FILE_BYTES),
                        Err(found) => problem(found),
                    }
                }
                for value in &answer.values {
                    if let Err(found) = value {
                        problem(found);
                    }
                }
            }
        }
        Err(WorkerError::Templates(problems)) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(problem);
        }
        Err(other) => super::checks::panic_with(&other.to_string()),
    }
    assert_eq!(run(&job), once, "the same templates give something else");
}

/// A worker that says anything at all never makes the parent take an answer that it did not ask for; and a worker that is
/// told anything at all only ends.
pub(super) fn worker_frames(input: &[u8]) {
    let job = job(b"replicas: {{values.replicas}}\n=== expression\n{{values.replicas}}");
    let asked = RefCell::new(Vec::new());
    let taken = Mutex::new(0_usize);
    let talk = converse(
        input,
        sink(),
        &job,
        0..job.regions.len(),
        |index| asked.borrow_mut().push(index),
        &|answer: RegionAnswer| {
            assert_eq!(answer.index, 0);
            assert_eq!((answer.outputs.len(), answer.values.len()), (1, 1));
            if let Ok(mut taken) = taken.lock() {
                *taken += 1;
            }
        },
    );
    let taken = taken.into_inner().unwrap_or_default();
    assert!(taken <= asked.borrow().len());
    if matches!(talk, Ok(Ok(()))) {
        assert_eq!(taken, job.regions.len());
    }
    let mut said = Vec::new();
    // Whether it ends well or not is the parent's business.
    let _ = serve(input, &mut said);
}
