//! The functions that templates may call, with Sprig's meaning and order of arguments.
//!
//! Where Sprig would quietly turn nonsense into something (the text `abc` into the number 0), this
//! is an error: a template that means nothing must not reach a cluster. `split` gives a list that
//! also answers to Sprig's keys `_0`, `_1`, …

mod meaning;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, PathAndJson, RenderContext, RenderError,
    Renderable as _, ScopedJson,
};
use serde_json::Value;

use super::{Budget, LimitedOutput, PARTIAL_STEPS, fault};
use crate::suggest;
use crate::worker::MAX_FILE_BYTES;

pub(super) use meaning::{described, is_empty};

/// What every output goes through: a text, number or boolean.
pub(super) const PRINT: &str = "output value";
/// What the arguments of partials go through: anything that is there.
pub(super) const PRESENT: &str = "present value";
/// What the one expression of a text goes through that keeps its type.
pub(super) const CAPTURE: &str = "captured value";
/// Takes a partial's steps of the budget and gives nothing.
pub(super) const STEP: &str = "step";

/// What a function does with values, or why it cannot.
type Meaning = fn(&[&Value]) -> Result<Value, String>;

/// One function.
struct Function {
    name: &'static str,
    least: usize,
    most: Option<usize>,
    /// Whether a missing path counts as empty in its arguments.
    takes_missing: bool,
    usage: &'static str,
    meaning: Meaning,
}

const fn strict(
    name: &'static str,
    least: usize,
    most: Option<usize>,
    usage: &'static str,
    meaning: Meaning,
) -> Function {
    Function {
        name,
        least,
        most,
        takes_missing: false,
        usage,
        meaning,
    }
}

const fn lenient(
    name: &'static str,
    least: usize,
    most: Option<usize>,
    usage: &'static str,
    meaning: Meaning,
) -> Function {
    Function {
        name,
        least,
        most,
        takes_missing: true,
        usage,
        meaning,
    }
}

/// All functions but `include`, which needs the templates.
const FUNCTIONS: [Function; 38] = [
    strict("toYaml", 1, Some(1), "toYaml VALUE", meaning::to_yaml),
    strict("toJson", 1, Some(1), "toJson VALUE", meaning::to_json),
    strict("indent", 2, Some(2), "indent SPACES TEXT", meaning::indent),
    strict(
        "nindent",
        2,
        Some(2),
        "nindent SPACES TEXT",
        meaning::nindent,
    ),
    strict("quote", 1, None, "quote VALUE…", meaning::quote),
    strict("squote", 1, None, "squote VALUE…", meaning::squote),
    lenient(
        "default",
        2,
        Some(2),
        "default DEFAULT VALUE",
        meaning::default,
    ),
    lenient(
        "required",
        2,
        Some(2),
        "required MESSAGE VALUE",
        meaning::required,
    ),
    lenient(
        "lookup",
        2,
        Some(2),
        "lookup MAP_OR_LIST KEY",
        meaning::lookup,
    ),
    strict("eq", 2, None, "eq A B…", meaning::eq),
    strict("ne", 2, Some(2), "ne A B", meaning::ne),
    strict("gt", 2, Some(2), "gt A B", meaning::gt),
    strict("gte", 2, Some(2), "gte A B", meaning::gte),
    strict("lt", 2, Some(2), "lt A B", meaning::lt),
    strict("lte", 2, Some(2), "lte A B", meaning::lte),
    strict("and", 1, None, "and A B…", meaning::and),
    strict("or", 1, None, "or A B…", meaning::or),
    strict("not", 1, Some(1), "not A", meaning::not),
    strict(
        "ternary",
        3,
        Some(3),
        "ternary IF_TRUE IF_FALSE CONDITION",
        meaning::ternary,
    ),
    lenient("coalesce", 1, None, "coalesce VALUE…", meaning::coalesce),
    lenient("hasKey", 2, Some(2), "hasKey MAP KEY", meaning::has_key),
    strict("upper", 1, Some(1), "upper TEXT", meaning::upper),
    strict("lower", 1, Some(1), "lower TEXT", meaning::lower),
    strict("trim", 1, Some(1), "trim TEXT", meaning::trim),
    strict(
        "replace",
        3,
        Some(3),
        "replace OLD NEW TEXT",
        meaning::replace,
    ),
    strict(
        "contains",
        2,
        Some(2),
        "contains PART TEXT",
        meaning::contains,
    ),
    strict(
        "startsWith",
        2,
        Some(2),
        "startsWith PREFIX TEXT",
        meaning::starts_with,
    ),
    strict("join", 2, Some(2), "join SEPARATOR LIST", meaning::join),
    strict("split", 2, Some(2), "split SEPARATOR TEXT", meaning::split),
    strict("b64enc", 1, Some(1), "b64enc TEXT", meaning::b64enc),
    strict("sha256", 1, Some(1), "sha256 TEXT", meaning::sha256),
    strict("add", 1, None, "add A B…", meaning::add),
    strict("sub", 2, Some(2), "sub A B", meaning::sub),
    strict("mul", 1, None, "mul A B…", meaning::mul),
    strict("div", 2, Some(2), "div A B", meaning::div),
    strict("mod", 2, Some(2), "mod A B", meaning::modulo),
    strict("int", 1, Some(1), "int VALUE", meaning::int),
    strict(
        "include",
        1,
        Some(1),
        "include \"PARTIAL\"",
        meaning::not_computed,
    ),
];

/// How many arguments a function takes: the least, and the most if there is a most.
pub(super) fn arity(name: &str) -> Option<(usize, Option<usize>)> {
    FUNCTIONS
        .iter()
        .find(|function| function.name == name)
        .map(|function| (function.least, function.most))
}

/// How a function is called.
pub(super) fn usage(name: &str) -> String {
    FUNCTIONS
        .iter()
        .find(|function| function.name == name)
        .map(|function| format!("write {}", function.usage))
        .unwrap_or_default()
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// Adds the functions, and takes away those of the crate that the contract does not have.
pub(super) fn register(registry: &mut Handlebars<'static>, budget: &Budget) {
    for name in ["log", "len"] {
        registry.unregister_helper(name);
    }
    for function in FUNCTIONS {
        let name = function.name;
        let call = Call {
            function,
            budget: budget.clone(),
        };
        registry.register_helper(name, Box::new(call));
    }
    registry.register_helper("include", Box::new(Include(budget.clone())));
    registry.register_helper(PRINT, Box::new(Print));
    registry.register_helper(PRESENT, Box::new(Present));
    registry.register_helper(CAPTURE, Box::new(Capture));
    registry.register_helper(STEP, Box::new(Step(budget.clone())));
}

/// The error of a path at which nothing is, with what was likely meant.
pub(super) fn missing(argument: &PathAndJson<'_>, context: &Context) -> RenderError {
    let Some(path) = argument.relative_path() else {
        return fault("the value is not set", None);
    };
    fault(
        format!("`{path}` is not set"),
        Some(near(path, context.data())),
    )
}

/// What a missing path may have meant: the nearest key where it leaves the data.
fn near(path: &str, data: &Value) -> String {
    let otherwise = format!("set it in values, or write (default … {path})");
    let path = path.strip_prefix("@root.").unwrap_or(path);
    let mut current = data;
    let mut walked: Vec<&str> = Vec::new();
    for segment in path.split(['.', '/']) {
        let Value::Object(map) = current else {
            return otherwise;
        };
        match map.get(segment) {
            Some(next) => {
                walked.push(segment);
                current = next;
            }
            None => {
                return suggest::nearest(segment, map.keys().map(String::as_str)).map_or(
                    otherwise,
                    |key| {
                        walked.push(key);
                        format!("did you mean `{}`?", walked.join("."))
                    },
                );
            }
        }
    }
    otherwise
}

struct Call {
    function: Function,
    budget: Budget,
}

impl HelperDef for Call {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.budget.take(1)?;
        if !self.function.takes_missing
            && let Some(argument) = helper
                .params()
                .iter()
                .find(|argument| argument.is_value_missing())
        {
            return Err(missing(argument, context));
        }
        let values: Vec<&Value> = helper.params().iter().map(PathAndJson::value).collect();
        match (self.function.meaning)(&values) {
            Ok(value) => Ok(ScopedJson::Derived(value)),
            Err(message) if self.function.name == "required" => Err(fault(
                message,
                helper
                    .param(1)
                    .and_then(PathAndJson::relative_path)
                    .map(|path| format!("set `{path}`")),
            )),
            Err(message) => Err(fault(
                format!("{}: {message}", self.function.name),
                Some(format!("write {}", self.function.usage)),
            )),
        }
    }
}

/// A partial's output as a text, with the caller's context.
struct Include(Budget);

impl HelperDef for Include {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.0.take(1)?;
        let name = helper
            .param(0)
            .and_then(|argument| argument.value().as_str())
            .unwrap_or_default();
        let template = registry
            .get_template(name)
            .ok_or_else(|| fault(format!("there is no partial `{name}`"), None))?;
        // A render context of its own: the caller's indentation is none of the text's business.
        let mut inner = RenderContext::new(None);
        inner.replace_blocks(render.replace_blocks(std::collections::VecDeque::new()));
        let mut output = LimitedOutput::new(MAX_FILE_BYTES);
        let rendered = template.render(registry, context, &mut inner, &mut output);
        render.replace_blocks(inner.replace_blocks(std::collections::VecDeque::new()));
        rendered?;
        Ok(ScopedJson::Derived(Value::String(output.text)))
    }
}

struct Print;

impl HelperDef for Print {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let argument = helper
            .param(0)
            .ok_or_else(|| fault("there is nothing to write", None))?;
        if argument.is_value_missing() {
            return Err(missing(argument, context));
        }
        let path = argument.relative_path();
        let shown = path.map_or_else(|| "the value".to_owned(), |path| format!("`{path}`"));
        match argument.value() {
            // What `lookup` or `coalesce` did not find is empty, and nothing is written for it.
            Value::Null if path.is_none() => Ok(ScopedJson::Derived(Value::String(String::new()))),
            Value::Null => Err(fault(
                format!("{shown} is null, which is no text"),
                Some("give it a value, or write {{default … }} around it".to_owned()),
            )),
            value @ (Value::Object(_) | Value::Array(_)) => Err(fault(
                format!("{shown} is {}, which is no text", described(value)),
                Some("write {{toYaml …}} or {{toJson …}}, or name one of its fields".to_owned()),
            )),
            value => Ok(ScopedJson::Derived(value.clone())),
        }
    }
}

struct Present;

impl HelperDef for Present {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let argument = helper
            .param(0)
            .ok_or_else(|| fault("an argument is missing", None))?;
        if argument.is_value_missing() {
            return Err(missing(argument, context));
        }
        Ok(ScopedJson::Derived(argument.value().clone()))
    }
}

struct Capture;

impl HelperDef for Capture {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let argument = helper
            .param(0)
            .ok_or_else(|| fault("there is nothing to take", None))?;
        if argument.is_value_missing() {
            return Err(missing(argument, context));
        }
        Ok(ScopedJson::Derived(Value::String(
            argument.value().to_string(),
        )))
    }
}

struct Step(Budget);

impl HelperDef for Step {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.0.take(PARTIAL_STEPS)?;
        Ok(ScopedJson::Derived(Value::String(String::new())))
    }
}
