//! Handlebars as the contract wants it: strict, deterministic, with Sprig's functions and exact errors.
//!
//! The crate's own strict mode lets a missing path pass in `{{#if}}`, writes `[object]` for a map and
//! nothing for null. So every parsed template is checked and rewritten before it is registered:
//! each output goes through one function that refuses what cannot stand in text, each argument of a
//! partial through one that refuses what is missing, and each partial counts against a budget.

mod blocks;
mod functions;
mod prepare;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::{Context, Handlebars, RenderError, RenderErrorReason, Template};
use serde_json::Value;

use crate::guard;
use crate::worker::{
    Expression, MAX_FILE_BYTES, MAX_REGION_BYTES, TemplateProblem, TemplateSource,
};

/// How many steps one template may take: one for each loop turn and function call.
const MAX_STEPS: u64 = 1_000_000;
/// What the name of an inline partial begins with where it stands beside those of files.
const INLINE: &str = "inline: ";
/// How many steps a partial counts for, which copies the context that it sees.
const PARTIAL_STEPS: u64 = 20;

/// What is left of the steps that the running template may take.
#[derive(Debug, Clone, Default)]
struct Budget(Arc<AtomicU64>);

impl Budget {
    fn refill(&self) {
        self.0.store(MAX_STEPS, Ordering::Relaxed);
    }

    fn take(&self, steps: u64) -> Result<(), RenderError> {
        let before = self.0.load(Ordering::Relaxed);
        if before < steps {
            return Err(RenderErrorReason::NestedError(Box::new(Fault {
                message: format!("the template takes more than {MAX_STEPS} steps"),
                hint: Some("loops in loops multiply; prepare the data in values".to_owned()),
                exceeds: true,
            }))
            .into());
        }
        self.0.store(before - steps, Ordering::Relaxed);
        Ok(())
    }
}

/// An error of ours on its way through Handlebars.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Fault {
    message: String,
    hint: Option<String>,
    /// Whether a bound was exceeded, at a cost that should not be paid for every region.
    exceeds: bool,
}

fn fault(message: impl Into<String>, hint: Option<String>) -> RenderError {
    RenderErrorReason::NestedError(Box::new(Fault {
        message: message.into(),
        hint,
        exceeds: false,
    }))
    .into()
}

/// How an expression's value is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The whole text is one expression: its value, with its type.
    Value,
    /// Anything else: text.
    Text,
}

/// All templates of a commit, parsed, checked and ready to run for any region.
pub struct Engine {
    registry: Handlebars<'static>,
    /// The name each template is registered by.
    names: Vec<String>,
    expressions: Vec<(Expression, String, Shape)>,
    /// The file of each registered name.
    files: BTreeMap<String, String>,
    budget: Budget,
    /// What exceeded a bound in one region, by registered name: it is not tried again in another.
    exceeded: Mutex<BTreeMap<String, TemplateProblem>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The name by which a source is registered: unique, and unlike any that a template can write,
/// but for the partials that every region shares.
fn registered_name(source: &TemplateSource) -> String {
    match (&source.partial, &source.region) {
        (Some(partial), None) => partial.clone(),
        (Some(partial), Some(region)) => format!("{region}: {partial}"),
        (None, _) => format!("file: {}", source.file),
    }
}

impl Engine {
    /// Parses and checks all templates; all problems at once if there are any.
    pub fn new(
        templates: &[TemplateSource],
        expressions: &[Expression],
    ) -> Result<Self, Vec<TemplateProblem>> {
        let budget = Budget::default();
        let mut registry = Handlebars::new();
        registry.register_escape_fn(handlebars::no_escape);
        registry.set_strict_mode(true);
        functions::register(&mut registry, &budget);
        blocks::register(&mut registry, &budget);

        let mut problems = Vec::new();
        let mut parsed: Vec<(String, &TemplateSource, Template)> = Vec::new();
        let mut files = BTreeMap::new();
        for source in templates {
            let name = registered_name(source);
            files.insert(name.clone(), source.file.clone());
            match parse(&source.text, &name) {
                Ok(template) => parsed.push((name, source, template)),
                Err(problem) => problems.push(TemplateProblem {
                    file: source.file.clone(),
                    ..problem
                }),
            }
        }
        let partials = prepare::Partials::of(templates);
        let mut includes = guard::Includes::new();
        let mut names = Vec::new();
        for (name, source, mut template) in parsed {
            let scope = prepare::Scope {
                name: &name,
                file: &source.file,
                region: source.region.as_deref(),
                partials: &partials,
            };
            prepare::prepare(
                &mut template,
                &scope,
                source.partial.is_some(),
                &mut includes,
                &mut problems,
            );
            registry.register_template(&name, template);
            names.push(name);
            // Inline partials are told at the file that has them.
            for node in includes.keys().filter(|node| node.starts_with(INLINE)) {
                if !files.contains_key(node) {
                    files.insert(node.clone(), source.file.clone());
                }
            }
        }
        if let Err(problem) = guard::check_includes(&includes) {
            let file = problem
                .at()
                .and_then(|name| files.get(name))
                .cloned()
                .unwrap_or_default();
            problems.push(TemplateProblem {
                file,
                line: 1,
                column: 1,
                message: problem.to_string(),
                hint: Some("take out one of these inclusions".to_owned()),
            });
        }

        let mut prepared = Vec::new();
        for (number, expression) in expressions.iter().enumerate() {
            let name = format!("expression: {number}");
            match prepare_expression(expression, &name, &partials) {
                Ok((template, shape)) => {
                    registry.register_template(&name, template);
                    prepared.push((expression.clone(), name, shape));
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Self {
                registry,
                names,
                expressions: prepared,
                files,
                budget,
                exceeded: Mutex::default(),
            })
        } else {
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }

    /// Runs the template at an index of those given to [`Engine::new`]; at most `most` bytes of output.
    pub fn render(
        &self,
        template: usize,
        context: &Context,
        most: usize,
    ) -> Result<String, TemplateProblem> {
        let name = self
            .names
            .get(template)
            .map(String::as_str)
            .unwrap_or_default();
        self.run(name, context, most)
    }

    /// The value of each expression given to [`Engine::new`], in order.
    #[must_use]
    pub fn evaluate_all(&self, context: &Context) -> Vec<Result<Value, TemplateProblem>> {
        self.expressions
            .iter()
            .map(|(expression, name, shape)| {
                let text = self
                    .run(name, context, MAX_FILE_BYTES)
                    .map_err(|problem| at_expression(expression, problem))?;
                match shape {
                    Shape::Text => Ok(Value::String(text)),
                    Shape::Value => serde_json::from_str(&text).map_err(|error| {
                        at_expression(
                            expression,
                            TemplateProblem {
                                file: String::new(),
                                line: 0,
                                column: 0,
                                message: error.to_string(),
                                hint: None,
                            },
                        )
                    }),
                }
            })
            .collect()
    }

    fn run(&self, name: &str, context: &Context, most: usize) -> Result<String, TemplateProblem> {
        let exceeded = || self.exceeded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = exceeded().get(name) {
            return Err(problem.clone());
        }
        self.budget.refill();
        let mut output = LimitedOutput::new(most);
        let rendered = self
            .registry
            .render_with_context_to_write(name, context, &mut output);
        let Err(error) = rendered else {
            return Ok(output.text);
        };
        let problem = self.problem(name, &error);
        if fault_of(error.reason()).is_some_and(|fault| fault.exceeds) {
            exceeded().insert(name.to_owned(), problem.clone());
        }
        Err(problem)
    }

    fn problem(&self, root: &str, error: &RenderError) -> TemplateProblem {
        let name = error.template_name.as_deref().unwrap_or(root);
        let file = self
            .files
            .get(name)
            .or_else(|| self.files.get(root))
            .cloned()
            .unwrap_or_default();
        let number = |number: Option<usize>| {
            number
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(0)
        };
        let (message, hint) = explain(error.reason());
        TemplateProblem {
            file,
            line: number(error.line_no),
            column: number(error.column_no),
            message,
            hint,
        }
    }
}

/// Our own error inside Handlebars' one, if it is ours.
fn fault_of(reason: &RenderErrorReason) -> Option<&Fault> {
    match reason {
        RenderErrorReason::NestedError(inner) => inner.downcast_ref(),
        RenderErrorReason::IOError(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Our words for what Handlebars says at run time.
fn explain(reason: &RenderErrorReason) -> (String, Option<String>) {
    if let Some(fault) = fault_of(reason) {
        return (fault.message.clone(), fault.hint.clone());
    }
    match reason {
        RenderErrorReason::MissingVariable(Some(path)) => (format!("`{path}` is not set"), None),
        RenderErrorReason::InvalidJsonIndex(index) => (
            format!("a list has no field `{index}`"),
            Some("take an item by its number (`list.0`) or loop with {{#each}}".to_owned()),
        ),
        RenderErrorReason::InvalidJsonPath(path) => (format!("`{path}` is not a path"), None),
        other => (other.to_string(), None),
    }
}

fn parse(text: &str, name: &str) -> Result<Template, TemplateProblem> {
    guard::check_text(text).map_err(|refusal| TemplateProblem {
        file: String::new(),
        line: refusal.line,
        column: refusal.column,
        message: refusal.message,
        hint: None,
    })?;
    Template::compile_with_name(text, name.to_owned()).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let message = match error.reason() {
            handlebars::TemplateErrorReason::MismatchingClosedHelper(open, close)
            | handlebars::TemplateErrorReason::MismatchingClosedDecorator(open, close) => {
                format!("{{{{#{open}}}}} is open here, but {{{{/{close}}}}} closes")
            }
            handlebars::TemplateErrorReason::InvalidSyntax(_) => {
                "this is no template expression that can be read".to_owned()
            }
            other => other.to_string(),
        };
        TemplateProblem {
            file: String::new(),
            line: number(line),
            column: number(column),
            message,
            hint: matches!(
                error.reason(),
                handlebars::TemplateErrorReason::InvalidSyntax(_)
            )
            .then(|| {
                "expressions look like {{values.name}} or {{default 3 values.replicas}}; every \
                 {{#block}} needs its {{/block}}; a literal {{ is written \\{{"
                    .to_owned()
            }),
        }
    })
}

fn prepare_expression(
    expression: &Expression,
    name: &str,
    partials: &prepare::Partials,
) -> Result<(Template, Shape), Vec<TemplateProblem>> {
    let mut template = parse(&expression.text, name)
        .map_err(|problem| vec![at_expression(expression, problem)])?;
    let scope = prepare::Scope {
        name,
        file: &expression.file,
        region: None,
        partials,
    };
    let mut problems = Vec::new();
    let whole = prepare::is_one_expression(&template);
    prepare::prepare(
        &mut template,
        &scope,
        false,
        &mut guard::Includes::new(),
        &mut problems,
    );
    if !problems.is_empty() {
        return Err(problems
            .into_iter()
            .map(|problem| at_expression(expression, problem))
            .collect());
    }
    if whole {
        prepare::capture(&mut template);
        Ok((template, Shape::Value))
    } else {
        Ok((template, Shape::Text))
    }
}

/// A problem inside an expression, told at the place where the expression stands.
fn at_expression(expression: &Expression, problem: TemplateProblem) -> TemplateProblem {
    TemplateProblem {
        file: expression.file.clone(),
        line: expression.line,
        column: expression.column,
        message: format!("{}: {}", expression.label, problem.message),
        hint: problem.hint,
    }
}

/// Text that stops growing at a bound.
struct LimitedOutput {
    text: String,
    most: usize,
}

impl LimitedOutput {
    fn new(most: usize) -> Self {
        Self {
            text: String::new(),
            most,
        }
    }

    fn push(&mut self, text: &str) -> std::io::Result<()> {
        if self.text.len() + text.len() > self.most {
            // Less is left only where the region's other files have taken the rest.
            let message = if self.most < MAX_FILE_BYTES {
                format!(
                    "the region's files are more than {} MiB together",
                    MAX_REGION_BYTES >> 20
                )
            } else {
                format!("the output is larger than {} MiB", MAX_FILE_BYTES >> 20)
            };
            return Err(std::io::Error::other(Fault {
                message,
                hint: Some("split the template, or render less".to_owned()),
                exceeds: true,
            }));
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl std::io::Write for &mut LimitedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Handlebars writes whole strings.
        let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        self.push(text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl handlebars::Output for LimitedOutput {
    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.push(text)
    }
}

#[cfg(test)]
mod tests;
