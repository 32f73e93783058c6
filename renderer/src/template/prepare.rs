//! Checks a parsed template and rewrites it, so that what runs is strict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use handlebars::Template;
use handlebars::template::{
    DecoratorTemplate, HelperTemplate, Parameter, Subexpression, TemplateElement,
};
use serde_json::Value;

use super::INLINE;
use super::functions::{self, CAPTURE, PRESENT, PRINT, STEP};
use crate::guard::Includes;
use crate::suggest;
use crate::worker::{TemplateProblem, TemplateSource};

/// The blocks that templates may use.
const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "raw"];

/// The partials that there are: those of all regions, and those of one.
pub(super) struct Partials {
    shared: BTreeSet<String>,
    of_region: BTreeMap<String, BTreeSet<String>>,
}

impl Partials {
    pub(super) fn of(sources: &[TemplateSource]) -> Self {
        let mut shared = BTreeSet::new();
        let mut of_region: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in sources {
            match (&source.partial, &source.region) {
                (Some(partial), None) => {
                    shared.insert(partial.clone());
                }
                (Some(partial), Some(region)) => {
                    of_region
                        .entry(region.clone())
                        .or_default()
                        .insert(partial.clone());
                }
                (None, _) => {}
            }
        }
        Self { shared, of_region }
    }

    /// The registered name of a partial as a template of `region` (or of all) names it.
    fn resolve(&self, name: &str, region: Option<&str>) -> Option<String> {
        if let Some(region) = region
            && self
                .of_region
                .get(region)
                .is_some_and(|names| names.contains(name))
        {
            return Some(format!("{region}: {name}"));
        }
        self.shared.contains(name).then(|| name.to_owned())
    }

    fn visible(&self, region: Option<&str>) -> impl Iterator<Item = &str> {
        self.shared
            .iter()
            .chain(
                region
                    .and_then(|region| self.of_region.get(region))
                    .into_iter()
                    .flatten(),
            )
            .map(String::as_str)
    }
}

/// Where a template stands, and what it may include.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a str,
    pub(super) region: Option<&'a str>,
    pub(super) partials: &'a Partials,
}

/// Whether a template is one expression and nothing else.
pub(super) fn is_one_expression(template: &Template) -> bool {
    matches!(
        template.elements.as_slice(),
        [TemplateElement::Expression(_) | TemplateElement::HtmlExpression(_)]
    )
}

/// Makes the one (prepared) expression of a template give its value as JSON.
pub(super) fn capture(template: &mut Template) {
    if let Some(
        TemplateElement::Expression(expression) | TemplateElement::HtmlExpression(expression),
    ) = template.elements.first_mut()
    {
        expression.name = Parameter::Name(CAPTURE.to_owned());
    }
}

/// Checks a template, adds what it includes to `includes` and what is wrong to `problems`, and
/// rewrites it.
pub(super) fn prepare(
    template: &mut Template,
    scope: &Scope<'_>,
    is_partial: bool,
    includes: &mut Includes,
    problems: &mut Vec<TemplateProblem>,
) {
    includes.entry(scope.name.to_owned()).or_default();
    let mut inline = BTreeSet::new();
    find_inline(template, &mut inline);
    let mut walk = Walk {
        scope: *scope,
        owner: scope.name.to_owned(),
        inline,
        includes,
        problems,
        position: (1, 1),
    };
    walk.template(template);
    if is_partial {
        count_step(template);
    }
}

/// The names of the inline partials in a template.
fn find_inline(template: &Template, names: &mut BTreeSet<String>) {
    for element in &template.elements {
        match element {
            TemplateElement::HelperBlock(block) => {
                for inner in [&block.template, &block.inverse].into_iter().flatten() {
                    find_inline(inner, names);
                }
            }
            TemplateElement::DecoratorBlock(block) => {
                if let Some(Parameter::Literal(Value::String(name))) = block.params.first() {
                    names.insert(name.clone());
                }
                if let Some(inner) = &block.template {
                    find_inline(inner, names);
                }
            }
            _ => {}
        }
    }
}

/// Makes a template take one step of the budget. The call comes last, because elements and their
/// positions are two lists side by side, and a position cannot be made.
fn count_step(template: &mut Template) {
    if let Parameter::Subexpression(call) = call(STEP, Vec::new()) {
        template.elements.push(*call.element);
    }
}

/// A call of a function, as a parameter.
fn call(name: &str, params: Vec<Parameter>) -> Parameter {
    Parameter::Subexpression(Subexpression::new(
        Parameter::Name(name.to_owned()),
        params,
        HashMap::new(),
    ))
}

struct Walk<'a> {
    scope: Scope<'a>,
    /// The node of the include graph that the current text belongs to.
    owner: String,
    inline: BTreeSet<String>,
    includes: &'a mut Includes,
    problems: &'a mut Vec<TemplateProblem>,
    position: (usize, usize),
}

impl Walk<'_> {
    fn problem(&mut self, message: impl Into<String>, hint: Option<String>) {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.problems.push(TemplateProblem {
            file: self.scope.file.to_owned(),
            line: number(self.position.0),
            column: number(self.position.1),
            message: message.into(),
            hint,
        });
    }

    fn template(&mut self, template: &mut Template) {
        let outer = self.position;
        for (index, element) in template.elements.iter_mut().enumerate() {
            // The branches of an `else` chain have no position of their own.
            self.position = template
                .mapping
                .get(index)
                .map_or(outer, |mapping| (mapping.0, mapping.1));
            match element {
                TemplateElement::Expression(expression)
                | TemplateElement::HtmlExpression(expression) => self.output(expression),
                TemplateElement::HelperBlock(block) => self.block(block),
                TemplateElement::PartialExpression(partial) => self.partial(partial),
                TemplateElement::DecoratorBlock(decorator) => self.inline_partial(decorator),
                TemplateElement::PartialBlock(_) => self.problem(
                    "partials with a block ({{#> name}}) are not supported",
                    Some("pass what differs as a value: {{> name key=value}}".to_owned()),
                ),
                TemplateElement::DecoratorExpression(_) => {
                    self.problem("decorators ({{* name}}) are not supported", None);
                }
                _ => {}
            }
        }
        self.position = outer;
    }

    /// `{{x}}` and `{{f x}}` become `{{print x}}` and `{{print (f x)}}`.
    fn output(&mut self, expression: &mut HelperTemplate) {
        let value = if expression.params.is_empty() && expression.hash.is_empty() {
            match &expression.name {
                Parameter::Subexpression(_) => {
                    let mut value = expression.name.clone();
                    self.parameter(&mut value);
                    value
                }
                name => match name.as_name() {
                    Some(word) if functions::arity(word).is_some() => {
                        let word = word.to_owned();
                        self.check_call(&word, 0);
                        return;
                    }
                    _ => name.clone(),
                },
            }
        } else {
            let mut value = Parameter::Subexpression(Subexpression::new(
                expression.name.clone(),
                std::mem::take(&mut expression.params),
                std::mem::take(&mut expression.hash),
            ));
            self.parameter(&mut value);
            value
        };
        expression.name = Parameter::Name(PRINT.to_owned());
        expression.params = vec![value];
    }

    fn block(&mut self, block: &mut HelperTemplate) {
        let name = block.name.as_name().unwrap_or_default().to_owned();
        if !BLOCKS.contains(&name.as_str()) {
            if functions::arity(&name).is_some() {
                self.problem(
                    format!("`{name}` is a function, not a block"),
                    Some(format!("write {{{{#if ({name} …)}}}}")),
                );
            } else {
                let hint = suggest::nearest(&name, BLOCKS)
                    .map(|near| format!("did you mean {{{{#{near}}}}}?"));
                self.problem(format!("there is no block `{name}`"), hint);
            }
            return;
        }
        let expected = usize::from(name != "raw");
        if block.params.len() != expected {
            self.problem(
                format!(
                    "{{{{#{name}}}}} takes {expected} argument{}, not {}",
                    if expected == 1 { "" } else { "s" },
                    block.params.len()
                ),
                (block.params.len() > 1)
                    .then(|| format!("compute it in parentheses: {{{{#{name} (and a b)}}}}")),
            );
        }
        for parameter in &mut block.params {
            self.parameter(parameter);
        }
        let unknown: Vec<String> = block
            .hash
            .keys()
            .filter(|key| {
                !(key.as_str() == "includeZero" && matches!(name.as_str(), "if" | "unless"))
            })
            .cloned()
            .collect();
        for key in BTreeSet::from_iter(unknown) {
            self.problem(format!("{{{{#{name}}}}} has no option `{key}`"), None);
        }
        for inner in [&mut block.template, &mut block.inverse]
            .into_iter()
            .flatten()
        {
            self.template(inner);
        }
    }

    fn inline_partial(&mut self, decorator: &mut DecoratorTemplate) {
        let name = if let (Some("inline"), [Parameter::Literal(Value::String(name))]) =
            (decorator.name.as_name(), decorator.params.as_slice())
        {
            name.clone()
        } else {
            self.problem(
                "only {{#*inline \"name\"}} is known here",
                Some("write a partial: a file whose name starts with _".to_owned()),
            );
            return;
        };
        if self
            .scope
            .partials
            .visible(self.scope.region)
            .any(|known| known == name)
        {
            self.problem(
                format!("the inline partial `{name}` hides the partial file of that name"),
                Some("give it another name".to_owned()),
            );
        }
        let node = format!("{INLINE}{name}");
        let owner = std::mem::replace(&mut self.owner, node);
        self.includes.entry(self.owner.clone()).or_default();
        if let Some(inner) = &mut decorator.template {
            self.template(inner);
            count_step(inner);
        }
        self.owner = owner;
    }

    fn partial(&mut self, partial: &mut DecoratorTemplate) {
        for parameter in partial.params.iter_mut().chain(partial.hash.values_mut()) {
            self.parameter(parameter);
            *parameter = call(PRESENT, vec![parameter.clone()]);
        }
        if partial.params.len() > 1 {
            self.problem(
                "a partial takes one value and any number of key=value",
                None,
            );
        }
        let Some(name) = partial.name.as_name().map(unquoted) else {
            self.problem(
                "the name of a partial must be written out, not computed",
                Some("choose with {{#if}} between partials that are written out".to_owned()),
            );
            return;
        };
        if let Some(resolved) = self.included(&name, true) {
            partial.name = Parameter::Name(resolved);
        }
    }

    /// Notes an inclusion; gives the registered name.
    fn included(&mut self, name: &str, may_be_inline: bool) -> Option<String> {
        let (node, registered) = if may_be_inline && self.inline.contains(name) {
            (format!("{INLINE}{name}"), name.to_owned())
        } else if let Some(resolved) = self.scope.partials.resolve(name, self.scope.region) {
            (resolved.clone(), resolved)
        } else {
            let hint = suggest::nearest(name, self.scope.partials.visible(self.scope.region))
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| {
                    Some(
                        "partials are files below templates/ whose name, or whose folder's, starts \
                         with _; they are named by their path there, without .hbs"
                            .to_owned(),
                    )
                });
            self.problem(format!("there is no partial `{name}`"), hint);
            return None;
        };
        self.includes
            .entry(self.owner.clone())
            .or_default()
            .insert(node);
        Some(registered)
    }

    /// Checks a parameter; calls in it are checked in turn.
    fn parameter(&mut self, parameter: &mut Parameter) {
        let Parameter::Subexpression(expression) = parameter else {
            return;
        };
        let TemplateElement::Expression(inner) = expression.element.as_mut() else {
            return;
        };
        let Some(name) = inner.name.as_name().map(str::to_owned) else {
            self.problem("a function's name must be written out, not computed", None);
            return;
        };
        if let Some(key) = inner.hash.keys().min() {
            self.problem(format!("`{name}` takes no named argument `{key}`"), None);
        }
        if !self.check_call(&name, inner.params.len()) {
            return;
        }
        if name == "include" {
            let named = match inner.params.first() {
                Some(Parameter::Literal(Value::String(partial))) => Some(partial.clone()),
                _ => None,
            };
            match named {
                Some(partial) => {
                    if let Some(resolved) = self.included(&partial, false) {
                        inner.params = vec![Parameter::Literal(Value::String(resolved))];
                    }
                }
                None => self.problem(
                    "`include` takes a partial's name in quotes",
                    Some("write (include \"_name\")".to_owned()),
                ),
            }
            return;
        }
        for parameter in &mut inner.params {
            self.parameter(parameter);
        }
    }

    /// Whether there is a function of this name that takes so many arguments.
    fn check_call(&mut self, name: &str, count: usize) -> bool {
        let Some((least, most)) = functions::arity(name) else {
            let hint = suggest::nearest(name, functions::names())
                .map(|near| format!("did you mean `{near}`?"));
            self.problem(format!("there is no function `{name}`"), hint);
            return false;
        };
        if count >= least && most.is_none_or(|most| count <= most) {
            return true;
        }
        let many = |number: usize| if number == 1 { "" } else { "s" };
        let takes = match most {
            Some(most) if most == least => format!("{least} argument{}", many(least)),
            Some(most) => format!("{least} to {most} arguments"),
            None => format!("at least {least} argument{}", many(least)),
        };
        self.problem(
            format!("`{name}` takes {takes}, not {count}"),
            Some(functions::usage(name)),
        );
        false
    }
}

/// A partial's name may be written in single quotes or brackets.
fn unquoted(name: &str) -> String {
    name.strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .or_else(|| {
            name.strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
        })
        .unwrap_or(name)
        .to_owned()
}
