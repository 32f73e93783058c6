//! Running templates somewhere that may die: the questions, the answers, and the bytes between.
//!
//! Templates come from people who are trusted with configuration, not with the controller. Handlebars
//! has no bound on its stack, and a stack overflow ends a process. So production hands [`Job`]s to a
//! child process, which runs [`serve`]; [`converse`] is the other half. Both know nothing but a reader
//! and a writer. [`InProcessWorker`] runs the same engine here, for tests and tools.
//!
//! A frame is its length in bytes (four, big-endian) and so many bytes of JSON.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use handlebars::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::template::Engine;

/// The largest output of one template, in bytes.
pub const MAX_FILE_BYTES: usize = 8 << 20;
/// The largest output of all templates of one region, in bytes.
pub const MAX_REGION_BYTES: usize = 48 << 20;
/// The largest frame that is read.
const MAX_FRAME_BYTES: usize = 256 << 20;
/// Rendering recurses with the nesting of blocks and partials, which is bounded; this is ample.
const STACK_BYTES: usize = 64 << 20;

/// One template or partial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSource {
    /// The file, relative to the repo's root.
    pub file: String,
    /// The name under which templates include it, if it is a partial.
    pub partial: Option<String>,
    /// The region whose templates alone see it, if it is a partial of one region.
    pub region: Option<String>,
    /// Its text.
    pub text: String,
}

/// One text whose expressions are resolved for each region: a string of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expression {
    /// The file it stands in, relative to the repo's root.
    pub file: String,
    /// Its line, counted from 1; 0 if it is not known.
    pub line: u32,
    /// Its column, counted from 1; 0 if it is not known.
    pub column: u32,
    /// What it is, for messages: `gates.healthz.http.url`.
    pub label: String,
    /// The text.
    pub text: String,
}

/// What is to be done for one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionJob {
    /// The region's name.
    pub region: String,
    /// What its templates see.
    pub context: Value,
    /// The templates to run: indices into [`Job::templates`].
    pub templates: Vec<usize>,
    /// Whether the expressions are to be resolved too.
    pub expressions: bool,
}

/// Everything that is to be rendered for one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// All templates and partials.
    pub templates: Vec<TemplateSource>,
    /// The expressions.
    pub expressions: Vec<Expression>,
    /// The regions.
    pub regions: Vec<RegionJob>,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateProblem {
    /// The file, relative to the repo's root.
    pub file: String,
    /// The line, counted from 1; 0 if the problem is with the whole file.
    pub line: u32,
    /// The column, counted from 1; 0 if the problem is with the whole line or file.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// What came of one region's job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionAnswer {
    /// The region's place in [`Job::regions`].
    pub index: usize,
    /// The output of each of its templates, in the job's order.
    pub outputs: Vec<Result<String, TemplateProblem>>,
    /// The value of each expression, in the job's order.
    pub values: Vec<Result<Value, TemplateProblem>>,
}

/// Why a job has no answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The templates are wrong for every region: they do not parse, or are refused before they run.
    #[error("{} templates cannot be used", .0.len())]
    Templates(Vec<TemplateProblem>),
    /// The worker was stopped, or ended, before it had answered: a property of the input.
    #[error("rendering was stopped: {reason}")]
    Stopped {
        /// What was exceeded, as far as it can be told.
        reason: String,
        /// The regions that were being worked on.
        regions: Vec<String>,
    },
    /// No worker could be started or talked to; another time it may work.
    #[error("the render worker could not do its work: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
}

/// Runs templates.
pub trait TemplateWorker: Sync {
    /// Runs a job. `answer` is called once for each region, from any thread, in any order, each as
    /// soon as it is there, so that the caller can work on it while others are rendered.
    fn run(&self, job: &Job, answer: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError>;
}

/// The same engine in this process: for tests, and where the templates are one's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcessWorker;

impl TemplateWorker for InProcessWorker {
    fn run(&self, job: &Job, answer: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError> {
        on_a_large_stack(|| {
            let engine =
                Engine::new(&job.templates, &job.expressions).map_err(WorkerError::Templates)?;
            for (index, region) in job.regions.iter().enumerate() {
                answer(render_region(&engine, index, region));
            }
            Ok(())
        })
    }
}

fn on_a_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, WorkerError> + Send,
) -> Result<T, WorkerError> {
    let broken = |reason: String| WorkerError::Broken { reason };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("render".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| broken(format!("no thread for it: {error}")))?
            .join()
            .map_err(|_| broken("it panicked".to_owned()))?
    })
}

fn render_region(engine: &Engine, index: usize, job: &RegionJob) -> RegionAnswer {
    let context = match Context::wraps(sorted(&job.context)) {
        Ok(context) => context,
        Err(_) => Context::null(),
    };
    let mut left = MAX_REGION_BYTES;
    let outputs = job
        .templates
        .iter()
        .map(|template| {
            let output = engine.render(*template, &context, left.min(MAX_FILE_BYTES))?;
            left = left.saturating_sub(output.len());
            Ok(output)
        })
        .collect();
    let values = if job.expressions {
        engine.evaluate_all(&context)
    } else {
        Vec::new()
    };
    RegionAnswer {
        index,
        outputs,
        values,
    }
}

/// The same value with every map in the order of its keys, whatever order `serde_json` was built to keep.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let by_key: BTreeMap<&String, Value> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            Value::Object(
                by_key
                    .into_iter()
                    .map(|(key, value)| (key.clone(), value))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// What the parent says first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Setup {
    templates: Vec<TemplateSource>,
    expressions: Vec<Expression>,
}

/// What the parent says then, as often as it likes; the end of its stream ends the work.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    index: usize,
    job: RegionJob,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Said {
    /// The templates can be used.
    Ready,
    /// They cannot.
    Refused(Vec<TemplateProblem>),
    /// One region's answer.
    Answer(RegionAnswer),
}

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What came is not what was agreed.
    #[error("a frame could not be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A frame is larger than any honest one.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// The stream ended in the middle.
    #[error("the worker ended before it had answered")]
    Ended,
}

fn write_frame(writer: &mut impl Write, message: &impl Serialize) -> Result<(), TalkError> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(|_| TalkError::TooLarge(bytes.len()))?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(&bytes)?;
    writer.flush()?;
    Ok(())
}

/// The next frame, or nothing at the stream's end.
fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> Result<Option<T>, TalkError> {
    let mut length = [0_u8; 4];
    let mut have = 0;
    while have < length.len() {
        let Some(rest) = length.get_mut(have..) else {
            break;
        };
        match reader.read(rest) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(TalkError::Ended),
            Ok(count) => have += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(TalkError::TooLarge(length));
    }
    let mut bytes = Vec::new();
    // What arrives decides how much is allocated, not what was announced.
    let read = reader
        .take(u64::try_from(length).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    if read < length {
        return Err(TalkError::Ended);
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// The child's whole life: takes templates, then regions, and answers until its input ends.
pub fn serve(mut reader: impl Read + Send, mut writer: impl Write + Send) -> Result<(), TalkError> {
    let mut outcome = Ok(());
    let ran = on_a_large_stack(|| {
        outcome = serve_here(&mut reader, &mut writer);
        Ok(())
    });
    match ran {
        Ok(()) => outcome,
        Err(error) => Err(TalkError::Io(std::io::Error::other(error.to_string()))),
    }
}

fn serve_here(reader: &mut impl Read, writer: &mut impl Write) -> Result<(), TalkError> {
    let Some(setup) = read_frame::<Setup>(reader)? else {
        return Ok(());
    };
    let engine = match Engine::new(&setup.templates, &setup.expressions) {
        Ok(engine) => engine,
        Err(problems) => return write_frame(writer, &Said::Refused(problems)),
    };
    write_frame(writer, &Said::Ready)?;
    while let Some(question) = read_frame::<Question>(reader)? {
        let answer = render_region(&engine, question.index, &question.job);
        write_frame(writer, &Said::Answer(answer))?;
    }
    Ok(())
}

/// The parent's half: asks for the regions of `indices`, one at a time, and hands on each answer.
///
/// `asked` is told of each region before it is asked for, so that whoever stops the child can say
/// what it was working on. The writer is dropped at the end, which ends the child.
pub fn converse(
    mut reader: impl Read,
    mut writer: impl Write,
    job: &Job,
    indices: impl IntoIterator<Item = usize>,
    asked: impl Fn(usize),
    answer: &(dyn Fn(RegionAnswer) + Sync),
) -> Result<Result<(), Vec<TemplateProblem>>, TalkError> {
    write_frame(
        &mut writer,
        &Setup {
            templates: job.templates.clone(),
            expressions: job.expressions.clone(),
        },
    )?;
    match read_frame::<Said>(&mut reader)? {
        Some(Said::Ready) => {}
        Some(Said::Refused(problems)) => return Ok(Err(problems)),
        Some(Said::Answer(_)) | None => return Err(TalkError::Ended),
    }
    let mut ask = |index: Option<usize>| -> Result<Option<usize>, TalkError> {
        let Some((index, region)) = index.and_then(|index| Some((index, job.regions.get(index)?)))
        else {
            return Ok(None);
        };
        asked(index);
        let job = region.clone();
        write_frame(&mut writer, &Question { index, job })?;
        Ok(Some(index))
    };
    let mut indices = indices.into_iter();
    let mut open = ask(indices.next())?;
    while let Some(index) = open {
        let Some(Said::Answer(given)) = read_frame::<Said>(&mut reader)? else {
            return Err(TalkError::Ended);
        };
        let expected = job.regions.get(index).map(|region| {
            let values = if region.expressions {
                job.expressions.len()
            } else {
                0
            };
            (index, region.templates.len(), values)
        });
        if expected != Some((given.index, given.outputs.len(), given.values.len())) {
            return Err(TalkError::Ended);
        }
        // The next region is asked for first, so that the child works while we look at this one.
        open = ask(indices.next())?;
        answer(given);
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    fn job() -> Job {
        let region = |name: &str| RegionJob {
            region: name.to_owned(),
            context: json!({ "name": name, "values": { "b": 1, "a": 2 } }),
            templates: vec![0, 1],
            expressions: name != "two",
        };
        Job {
            templates: vec![
                TemplateSource {
                    file: "templates/x.yaml.hbs".to_owned(),
                    partial: None,
                    region: None,
                    text: "{{name}}: {{toJson values}}".to_owned(),
                },
                TemplateSource {
                    file: "templates/y.yaml.hbs".to_owned(),
                    partial: None,
                    region: None,
                    text: "{{values.c}}".to_owned(),
                },
            ],
            expressions: vec![Expression {
                file: "tidegate.yaml".to_owned(),
                line: 1,
                column: 1,
                label: "gate g, url".to_owned(),
                text: "{{values.a}}".to_owned(),
            }],
            regions: vec![region("one"), region("two"), region("three")],
        }
    }

    fn answers_of(
        run: impl FnOnce(&(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError>,
    ) -> Result<Vec<RegionAnswer>, WorkerError> {
        let answers = Mutex::new(Vec::new());
        run(&|answer| answers.lock().unwrap().push(answer))?;
        let mut answers = answers.into_inner().unwrap();
        answers.sort_by_key(|answer| answer.index);
        Ok(answers)
    }

    /// Runs a job through both halves of the protocol, with pipes between them.
    fn through_pipes(job: &Job) -> Result<Vec<RegionAnswer>, WorkerError> {
        answers_of(|answer| {
            let (questions_in, questions_out) = std::io::pipe().unwrap();
            let (answers_in, answers_out) = std::io::pipe().unwrap();
            std::thread::scope(|scope| {
                let child = scope.spawn(|| serve(questions_in, answers_out));
                let said = converse(
                    answers_in,
                    questions_out,
                    job,
                    0..job.regions.len(),
                    |_| {},
                    answer,
                );
                child.join().unwrap().unwrap();
                said.unwrap().map_err(WorkerError::Templates)
            })
        })
    }

    #[test]
    fn a_child_answers_what_this_process_would() {
        let here = answers_of(|answer| InProcessWorker.run(&job(), answer)).unwrap();
        assert_eq!(here.len(), 3);
        assert_eq!(here[0].outputs[0], Ok("one: {\"a\":2,\"b\":1}".to_owned()));
        assert_eq!(
            here[0].outputs[1].as_ref().unwrap_err().message,
            "`values.c` is not set"
        );
        assert_eq!(here[0].values, [Ok(json!(2))]);
        assert_eq!(here[1].values, []);
        assert_eq!(through_pipes(&job()).unwrap(), here);
    }

    #[test]
    fn templates_that_cannot_be_used_are_refused_by_both() {
        let mut job = job();
        job.templates[1].text = "{{#if}}".to_owned();
        let here = answers_of(|answer| InProcessWorker.run(&job, answer)).unwrap_err();
        assert!(matches!(&here, WorkerError::Templates(problems) if problems.len() == 1));
        assert_eq!(through_pipes(&job).unwrap_err(), here);
    }

    #[test]
    fn a_child_that_ends_or_lies_is_an_error() {
        let talk = |said: &[u8]| {
            converse(said, Vec::new(), &job(), 0..3, |_| {}, &|_| {})
                .unwrap_err()
                .to_string()
        };
        let mut ready = Vec::new();
        write_frame(&mut ready, &Said::Ready).unwrap();
        let mut wrong = ready.clone();
        write_frame(
            &mut wrong,
            &Said::Answer(RegionAnswer {
                index: 2,
                outputs: Vec::new(),
                values: Vec::new(),
            }),
        )
        .unwrap();
        let ended = "the worker ended before it had answered";
        assert_eq!(talk(b""), ended);
        assert_eq!(talk(&[0, 0]), ended);
        assert_eq!(talk(&ready[..6]), ended);
        assert_eq!(talk(&ready), ended);
        assert_eq!(talk(&wrong), ended);
        assert_eq!(
            talk(&[255, 255, 255, 255]),
            "a frame of 4294967295 bytes is too large"
        );
        assert!(talk(&[0, 0, 0, 2, b'{', b'}']).starts_with("a frame could not be read"));
    }
}
