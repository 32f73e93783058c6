//! What is checked in a template before it runs, or is even parsed.
//!
//! Parsing and rendering both recurse with the nesting of blocks, and partials may include each other
//! for ever. Handlebars bounds neither, and a stack overflow cannot be caught; so both are bounded here,
//! with messages that say where. This reads text, not the grammar, so it is no proof against malice:
//! that is what the worker process is for.

use std::collections::{BTreeMap, BTreeSet};

/// The deepest nesting of blocks in one template; a branch of an `else` chain counts as one.
pub const MAX_BLOCK_DEPTH: usize = 64;
/// The deepest nesting of parentheses, lists and maps inside one expression.
pub const MAX_EXPRESSION_DEPTH: usize = 32;
/// The longest chain of partials that include each other.
pub const MAX_INCLUDE_DEPTH: usize = 32;
/// The largest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// What is wrong with a template's text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Checks a template's text before it is parsed: its size, the nesting of its blocks and expressions.
pub fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err(Refusal {
            line: 1,
            column: 1,
            message: format!(
                "the template has {} bytes, more than {MAX_TEMPLATE_BYTES}; split it",
                text.len()
            ),
        });
    }
    // One number for each open block: itself and its `else` branches.
    let mut blocks: Vec<usize> = Vec::new();
    let mut position = 0;
    while let Some(found) = text.get(position..).and_then(|rest| rest.find("{{")) {
        let start = position + found;
        let before = text.get(..start).unwrap_or_default();
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        let rest = text.get(start + 2..).unwrap_or_default();
        if backslashes == 1 {
            position = start + 2;
            continue;
        }
        if let Some(raw) = rest.strip_prefix("{{") {
            // A raw block: nothing inside is read, up to its closing tag.
            let end = raw.find("{{{{/").map_or(raw.len(), |end| end + 5);
            position = start + 4 + end;
            continue;
        }
        if rest.starts_with('!') {
            let long = rest.starts_with("!--").then(|| rest.find("--}}")).flatten();
            let end = long
                .map(|end| end + 4)
                .or_else(|| rest.find("}}").map(|end| end + 2))
                .unwrap_or(rest.len());
            position = start + 2 + end;
            continue;
        }
        let tag = rest.strip_prefix('~').unwrap_or(rest);
        let depth = expression_depth(rest);
        if depth > MAX_EXPRESSION_DEPTH {
            return Err(refusal(
                text,
                start,
                format!(
                    "the expression is nested {depth} deep, more than {MAX_EXPRESSION_DEPTH}; compute parts of it in values or partials"
                ),
            ));
        }
        let word = tag.trim_start();
        if word.starts_with('#') {
            blocks.push(1);
        } else if word.starts_with('/') {
            blocks.pop();
        } else if (word.starts_with("else") || word.starts_with('^'))
            && let Some(branches) = blocks.last_mut()
        {
            *branches += 1;
        }
        let depth: usize = blocks.iter().sum();
        if depth > MAX_BLOCK_DEPTH {
            return Err(refusal(
                text,
                start,
                format!(
                    "blocks are nested more than {MAX_BLOCK_DEPTH} deep here (branches of an `else` chain count); move parts of it into partials"
                ),
            ));
        }
        position = start + 2;
    }
    Ok(())
}

/// How deep the parentheses in the tag nest that begins here.
fn expression_depth(rest: &str) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    let mut quote = None;
    let mut escaped = false;
    for byte in rest.bytes() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == open {
                quote = None;
            }
            continue;
        }
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' if depth == 0 => return deepest,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn refusal(text: &str, offset: usize, message: String) -> Refusal {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    Refusal {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        message,
    }
}

/// Who includes whom: each name with the names it includes.
pub type Includes = BTreeMap<String, BTreeSet<String>>;

/// What is wrong with the inclusions of partials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncludeProblem {
    /// They include each other for ever.
    #[error("partials include each other without end: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// The chain is too long.
    #[error("partials include each other {} deep, more than {MAX_INCLUDE_DEPTH}: {} → …", .0.len(), .0.iter().take(4).cloned().collect::<Vec<_>>().join(" → "))]
    TooDeep(Vec<String>),
}

impl IncludeProblem {
    /// The name at which it is best shown.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        match self {
            Self::Cycle(chain) | Self::TooDeep(chain) => chain.first().map(String::as_str),
        }
    }
}

/// Finds the first cycle or over-long chain of inclusions, without recursion.
pub fn check_includes(includes: &Includes) -> Result<(), IncludeProblem> {
    // The longest chain below each name that is done.
    let mut depth_of: BTreeMap<&str, usize> = BTreeMap::new();
    for root in includes.keys() {
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        if depth_of.contains_key(root.as_str()) {
            continue;
        }
        path.push((root, children(includes, root)));
        while let Some((name, open)) = path.last_mut() {
            let name = *name;
            if let Some(next) = open.pop() {
                if let Some(start) = path.iter().position(|(visited, _)| *visited == next) {
                    let mut chain: Vec<String> = path
                        .iter()
                        .skip(start)
                        .map(|(visited, _)| (*visited).to_owned())
                        .collect();
                    chain.push(next.to_owned());
                    return Err(IncludeProblem::Cycle(chain));
                }
                if !depth_of.contains_key(next) {
                    path.push((next, children(includes, next)));
                }
            } else {
                let below = children(includes, name)
                    .into_iter()
                    .filter_map(|child| depth_of.get(child))
                    .max()
                    .copied()
                    .unwrap_or(0);
                depth_of.insert(name, below + 1);
                path.pop();
                if below + 1 > MAX_INCLUDE_DEPTH + 1 {
                    return Err(IncludeProblem::TooDeep(longest(includes, &depth_of, name)));
                }
            }
        }
    }
    Ok(())
}

fn children<'a>(includes: &'a Includes, name: &str) -> Vec<&'a str> {
    includes
        .get(name)
        .map(|names| names.iter().map(String::as_str).rev().collect())
        .unwrap_or_default()
}

fn longest(includes: &Includes, depth_of: &BTreeMap<&str, usize>, from: &str) -> Vec<String> {
    let mut chain = vec![from.to_owned()];
    let mut current = from.to_owned();
    while let Some(next) = children(includes, &current)
        .into_iter()
        .max_by_key(|child| depth_of.get(child).copied().unwrap_or(0))
    {
        chain.push(next.to_owned());
        next.clone_into(&mut current);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(pairs: &[(&str, &[&str])]) -> Includes {
        pairs
            .iter()
            .map(|(name, names)| {
                (
                    (*name).to_owned(),
                    names.iter().map(|name| (*name).to_owned()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn ordinary_templates_pass() {
        for text in [
            "",
            "a: {{values.x}}\n",
            "{{#if a}}{{#each b}}x{{else}}y{{/each}}{{else if c}}z{{/if}}",
            &"{{#if a}}x{{/if}}".repeat(500),
            &"{{!-- {{#if a}} --}}".repeat(500),
            &"\\{{#if a}}".repeat(500),
            &"{{{{raw}}}}{{#if a}}{{{{/raw}}}}".repeat(500),
            "{{quote \"((((((((((((((((((((((((((((((((((((((((((((((((((\"}}",
            "{{",
            "{{{",
            "}}",
            "{{\"",
            "{{#",
            "{{!",
            "{{!--",
            "{{{{raw",
            "\\",
            "{{é",
        ] {
            assert_eq!(check_text(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_where_it_gets_too_deep() {
        let blocks = format!("a\n{}", "{{#if a}}".repeat(20_000));
        let refused = check_text(&blocks).unwrap_err();
        assert_eq!((refused.line, refused.column), (2, 64 * 9 + 1));
        assert!(
            refused
                .message
                .starts_with("blocks are nested more than 64 deep here")
        );
        for text in [
            "{{~#if a~}}".repeat(20_000),
            "{{ # if a}}".repeat(20_000),
            "\\\\{{#if a}}".repeat(20_000),
            format!("{{{{#if a}}}}{}", "{{else if b}}".repeat(20_000)),
            format!("{{{{#if a}}}}{}", "{{^if b}}".repeat(20_000)),
            format!("{{{{#if a}}}}{}", "{{~ else if b}}".repeat(20_000)),
            format!("{{{{#if {}}}}}", "(not ".repeat(20_000)),
            format!("{{{{x {}}}}}", "[".repeat(20_000)),
            format!("{{{{{{x {}}}}}}}", "{\"a\":".repeat(20_000)),
        ] {
            assert!(check_text(&text).is_err(), "{}", &text[..40]);
        }
        assert!(
            check_text(&"x".repeat(MAX_TEMPLATE_BYTES + 1))
                .unwrap_err()
                .message
                .contains("split it")
        );
    }

    #[test]
    fn cycles_and_long_chains_are_found() {
        assert_eq!(
            check_includes(&includes(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])),
            Ok(())
        );
        assert_eq!(
            check_includes(&includes(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]))
                .unwrap_err()
                .to_string(),
            "partials include each other without end: b → c → b"
        );
        assert_eq!(
            check_includes(&includes(&[("a", &["a"])])).unwrap_err(),
            IncludeProblem::Cycle(vec!["a".to_owned(), "a".to_owned()])
        );
        let chain = |length: usize| -> Includes {
            (0..length)
                .map(|number| {
                    (
                        format!("p{number:05}"),
                        [format!("p{:05}", number + 1)].into(),
                    )
                })
                .collect()
        };
        assert_eq!(check_includes(&chain(MAX_INCLUDE_DEPTH)), Ok(()));
        assert!(matches!(
            check_includes(&chain(20_000)),
            Err(IncludeProblem::TooDeep(_))
        ));
    }
}
