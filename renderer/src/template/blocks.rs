//! `{{#if}}`, `{{#unless}}`, `{{#each}}` and `{{#with}}`, strict about what is missing.

use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, Output,
    PathAndJson, RenderContext, RenderError, Renderable as _,
};
use serde_json::Value;

use super::functions::{described, is_empty, missing};
use super::{Budget, fault};

/// Adds the blocks.
pub(super) fn register(registry: &mut Handlebars<'static>, budget: &Budget) {
    registry.register_helper("if", Box::new(Condition { wanted: true }));
    registry.register_helper("unless", Box::new(Condition { wanted: false }));
    registry.register_helper("each", Box::new(Each(budget.clone())));
    registry.register_helper("with", Box::new(With));
}

/// The block's one argument, which must be there.
fn argument<'a, 'rc>(
    helper: &'a Helper<'rc>,
    context: &Context,
) -> Result<&'a PathAndJson<'rc>, RenderError> {
    let argument = helper.param(0).ok_or_else(|| {
        fault(
            format!("{{{{#{}}}}} takes an argument", helper.name()),
            None,
        )
    })?;
    if argument.is_value_missing() {
        return Err(missing(argument, context));
    }
    Ok(argument)
}

struct Condition {
    wanted: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = argument(helper, context)?.value();
        let zero_counts = helper
            .hash_get("includeZero")
            .and_then(|option| option.value().as_bool())
            .unwrap_or(false);
        let holds = !is_empty(value) || (zero_counts && value.is_number());
        let branch = if holds == self.wanted {
            helper.template()
        } else {
            helper.inverse()
        };
        branch.map_or(Ok(()), |branch| {
            branch.render(registry, context, render, out)
        })
    }
}

/// The scope of a block over a value: by path where the value stands in the context, else a copy.
fn scope<'rc>(argument: &PathAndJson<'_>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    match argument.context_path() {
        Some(path) => block.base_path_mut().clone_from(path),
        None => block.set_base_value(argument.value().clone()),
    }
    block
}

struct With;

impl HelperDef for With {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let argument = argument(helper, context)?;
        if is_empty(argument.value()) {
            return helper.inverse().map_or(Ok(()), |branch| {
                branch.render(registry, context, render, out)
            });
        }
        let mut block = scope(argument);
        if let Some(outer) = render.block() {
            block
                .local_variables_mut()
                .clone_from(outer.local_variables());
        }
        if let Some(name) = helper.block_param() {
            let mut names = BlockParams::new();
            if argument.context_path().is_some() {
                names.add_path(name, Vec::new())?;
            } else {
                names.add_value(name, argument.value().clone())?;
            }
            block.set_block_params(names);
        }
        render.push_block(block);
        let rendered = helper.template().map_or(Ok(()), |branch| {
            branch.render(registry, context, render, out)
        });
        render.pop_block();
        rendered
    }
}

struct Each(Budget);

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let argument = argument(helper, context)?;
        let mut items: Vec<(Value, String, &Value)> = match argument.value() {
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, item)| (Value::from(index), index.to_string(), item))
                .collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| (Value::from(key.clone()), key.clone(), item))
                .collect(),
            other => {
                return Err(fault(
                    format!(
                        "{{{{#each}}}} needs a list or a map, not {}",
                        described(other)
                    ),
                    None,
                ));
            }
        };
        let is_map = argument.value().is_object();
        if is_map {
            // Whatever order serde_json was built to keep, the output's is that of the keys.
            items.sort_by(|left, right| left.1.cmp(&right.1));
        }
        if items.is_empty() {
            return helper.inverse().map_or(Ok(()), |branch| {
                branch.render(registry, context, render, out)
            });
        }
        let Some(body) = helper.template() else {
            return Ok(());
        };
        let path = argument.context_path();
        let last = items.len() - 1;
        for (index, (key, segment, item)) in items.into_iter().enumerate() {
            self.0.take(1)?;
            let mut block = BlockContext::new();
            block.set_local_var("first", Value::from(index == 0));
            block.set_local_var("last", Value::from(index == last));
            block.set_local_var("index", Value::from(index));
            if is_map {
                block.set_local_var("key", key.clone());
            }
            match path {
                Some(path) => {
                    let mut path = path.clone();
                    path.push(segment);
                    *block.base_path_mut() = path;
                }
                None => block.set_base_value(item.clone()),
            }
            let (value_name, key_name) = match helper.block_param_pair() {
                Some((value_name, key_name)) => (Some(value_name), Some(key_name)),
                None => (helper.block_param(), None),
            };
            let mut names = BlockParams::new();
            if let Some(name) = value_name {
                if path.is_some() {
                    names.add_path(name, Vec::new())?;
                } else {
                    names.add_value(name, item.clone())?;
                }
            }
            if let Some(name) = key_name {
                names.add_value(name, key)?;
            }
            block.set_block_params(names);
            render.push_block(block);
            let rendered = body.render(registry, context, render, out);
            render.pop_block();
            rendered?;
        }
        Ok(())
    }
}
