//! The document `tidegate.yaml`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tidegate_waves::amount::Amount;
use tidegate_waves::fleet::{
    ArgocdCheck, Fleet, Gate, GateCheck, Guards, Members, OnFailure, OnUnreachable,
    PolicyWithContent, RESERVED_WAVE_NAMES, RevertPolicy, RevertSource, SlotUntil, ValueLayer,
    Wave, WavePolicy, WorkloadsCheck,
};
use tidegate_waves::selector::{LabelSelector, Operator, Requirement};

use super::gates;
use super::reader::{Fields, Reader};
use crate::suggest::nearest;
use crate::values::{LayerPath, PathError};
use crate::yaml::{Node, Span, Spanned, shortened};

const FLEET_FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "name",
    "values",
    "waves",
    "gates",
    "onFailure",
    "onUnreachable",
    "revert",
    "guards",
];

/// The most value layers of a fleet: each is looked at for every region.
const MOST_LAYERS: usize = 100;

/// The most waves of a fleet: each has a branch.
const MOST_WAVES: usize = 500;

const ON_FAILURE: &[(&str, OnFailure)] = &[
    ("revert", OnFailure::Revert),
    ("hold", OnFailure::Hold),
    ("isolate", OnFailure::Isolate),
];

const ON_UNREACHABLE: &[(&str, OnUnreachable)] =
    &[("hold", OnUnreachable::Hold), ("fail", OnUnreachable::Fail)];

/// The fleet's document, read as far as it can be.
pub(super) struct ReadFleet {
    pub(super) fleet: Fleet,
    /// The `gates` as written; the whole document if there are none.
    pub(super) gates_node: Spanned<Node>,
    /// The value layers that could be read, with where they stand.
    pub(super) layers: Vec<ReadLayer>,
    /// Whether these are all of them.
    pub(super) layers_known: bool,
    /// Where each wave stands, in the fleet's order.
    pub(super) waves: Vec<WavePlace>,
    /// Whether the waves say who is in them, so that who is in none can be told.
    pub(super) members_known: bool,
}

/// One value layer.
pub(super) struct ReadLayer {
    pub(super) path: LayerPath,
    pub(super) written: String,
    pub(super) optional: bool,
    pub(super) span: Span,
}

/// Where a wave's members stand.
pub(super) struct WavePlace {
    /// The selector, or the list of names.
    pub(super) members: Span,
    /// Each region that is named, in order.
    pub(super) regions: Vec<(String, Span)>,
}

/// Reads the document; `None` if it is none of ours or has no usable name.
pub(super) fn read(reader: &Reader, document: &Spanned<Node>) -> Option<ReadFleet> {
    let fields = reader.fields(document, "the fleet", FLEET_FIELDS)?;
    let is_fleet = reader.is_document(&fields, "Fleet");
    let name = fields.dns_label("name");
    let errors = reader.errors();
    let layers = layers(reader, &fields);
    let layers_known = reader.errors() == errors && fields.is_certain("values");
    let (gates, gate_names) = fleet_gates(reader, &fields);
    let on_failure = fields
        .word("onFailure", ON_FAILURE)
        .unwrap_or(OnFailure::Revert);
    let on_unreachable = fields
        .word("onUnreachable", ON_UNREACHABLE)
        .unwrap_or(OnUnreachable::Hold);
    let revert = revert(reader, &fields);
    let guards = guards(reader, &fields);
    let defaults = WaveDefaults {
        on_failure,
        on_unreachable,
        gates: &gates,
        gate_names: &gate_names,
    };
    let waves = waves(reader, &fields, &defaults);
    let (_, name) = name?;
    if !is_fleet {
        return None;
    }
    Some(ReadFleet {
        fleet: Fleet {
            name: name.to_owned(),
            values: layers
                .iter()
                .map(|layer| ValueLayer {
                    path: layer.written.clone(),
                    optional: layer.optional,
                })
                .collect(),
            waves: waves.waves,
            gates,
            on_failure,
            on_unreachable,
            revert,
            guards,
        },
        gates_node: fields.get("gates").unwrap_or(document).clone(),
        layers,
        layers_known,
        waves: waves.places,
        members_known: waves.members_known,
    })
}

fn fleet_gates(reader: &Reader, fields: &Fields<'_>) -> (Vec<Gate>, Vec<String>) {
    let Some(node) = fields.get("gates") else {
        if fields.is_missing("gates") {
            reader.error_with_hint(
                fields.span,
                "the fleet does not say what its gates are",
                "add `gates`; write `gates: []` if there is really nothing to check",
            );
        }
        return (Vec::new(), Vec::new());
    };
    if node.value.as_sequence().is_some_and(<[_]>::is_empty) {
        reader.warn(
            node.span,
            "the fleet has no gates: nothing stops a bad commit",
            "add a gate, such as an `http` check of each region's health",
        );
    }
    gates::read(reader, node)
}

const LAYER_FIELDS: &[&str] = &["path", "optional"];

fn layers(reader: &Reader, fields: &Fields<'_>) -> Vec<ReadLayer> {
    let Some(node) = fields.get("values") else {
        return Vec::new();
    };
    reader
        .short_list(node, "`values` of the fleet", MOST_LAYERS)
        .unwrap_or_default()
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let what = format!("values layer {}", index + 1);
            let (node, written, optional) = if item.value.as_mapping().is_some() {
                let fields = reader.fields(item, what, LAYER_FIELDS)?;
                let optional = fields.word("optional", &[("true", true), ("false", false)]);
                let (node, written) = fields.required_text("path")?;
                // A second field that cannot be read was meant to be `optional`: what follows from
                // that mistake is not reported too.
                let misread =
                    optional.is_none() && item.value.as_mapping().is_some_and(|m| m.len() > 1);
                (node, written, optional.unwrap_or(misread))
            } else {
                (item, reader.text(item, &what)?, false)
            };
            match LayerPath::parse(written) {
                Ok(path) => Some(ReadLayer {
                    path,
                    written: written.to_owned(),
                    optional,
                    span: node.span,
                }),
                Err(error) => {
                    layer_error(reader, node.span, &error);
                    None
                }
            }
        })
        .collect()
}

fn layer_error(reader: &Reader, span: Span, error: &PathError) {
    match error {
        PathError::UnknownExpression {
            suggestion: Some(suggestion),
            ..
        } => reader.error_with_hint(
            span,
            error.to_string(),
            format!("did you mean {{{{{suggestion}}}}}?"),
        ),
        _ => reader.error(span, error.to_string()),
    }
}

fn revert(reader: &Reader, fields: &Fields<'_>) -> RevertPolicy {
    let source = fields
        .get("revert")
        .and_then(|node| reader.fields(node, "`revert` of the fleet", &["source"]))
        .and_then(|fields| {
            fields.word(
                "source",
                &[
                    ("commit", RevertSource::Commit),
                    ("pullRequest", RevertSource::PullRequest),
                    ("never", RevertSource::Never),
                ],
            )
        });
    RevertPolicy {
        source: source.unwrap_or(RevertSource::Commit),
    }
}

const GUARD_FIELDS: &[&str] = &[
    "maxDeletedObjectsPercent",
    "policyWithContent",
    "protectedKinds",
];

fn guards(reader: &Reader, fields: &Fields<'_>) -> Guards {
    let mut guards = Guards::default();
    let Some(fields) = fields
        .get("guards")
        .and_then(|node| reader.fields(node, "`guards` of the fleet", GUARD_FIELDS))
    else {
        return guards;
    };
    if let Some(percent) = fields
        .number("maxDeletedObjectsPercent", 0, 100)
        .and_then(|percent| u8::try_from(percent).ok())
    {
        guards.max_deleted_objects_percent = percent;
    }
    if let Some(policy) = fields.word(
        "policyWithContent",
        &[
            ("hold", PolicyWithContent::Hold),
            ("allow", PolicyWithContent::Allow),
        ],
    ) {
        guards.policy_with_content = policy;
    }
    if let Some(node) = fields.get("protectedKinds") {
        let called = fields.called("protectedKinds");
        for item in reader.list(node, &called).unwrap_or_default() {
            let Some(kind) = reader.text(item, &format!("an item of {called}")) else {
                continue;
            };
            if is_qualified_kind(kind) {
                guards.protected_kinds.insert(kind.to_owned());
            } else {
                reader.error_with_hint(
                    item.span,
                    format!("{:?} is no kind of object", shortened(kind)),
                    "write Kind or Kind.group, such as Service or Deployment.apps",
                );
            }
        }
    }
    guards
}

/// `Kind` or `Kind.group`.
fn is_qualified_kind(text: &str) -> bool {
    let (kind, group) = match text.split_once('.') {
        Some((kind, group)) => (kind, Some(group)),
        None => (text, None),
    };
    kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && group.is_none_or(|group| group.split('.').all(tidegate_waves::fleet::is_dns_label))
}

/// What a wave takes from its fleet.
struct WaveDefaults<'fleet> {
    on_failure: OnFailure,
    on_unreachable: OnUnreachable,
    gates: &'fleet [Gate],
    /// Also those of gates that could not be read.
    gate_names: &'fleet [String],
}

#[derive(Default)]
struct ReadWaves {
    waves: Vec<Wave>,
    places: Vec<WavePlace>,
    members_known: bool,
}

const WAVE_FIELDS: &[&str] = &[
    "name",
    "regions",
    "selector",
    "maxConcurrent",
    "slotUntil",
    "maxFailures",
    "maxUnreachable",
    "minHealthy",
    "progressDeadline",
    "bake",
    "gates",
    "onFailure",
    "onUnreachable",
];

fn waves(reader: &Reader, fields: &Fields<'_>, defaults: &WaveDefaults<'_>) -> ReadWaves {
    let mut read = ReadWaves::default();
    let Some(node) = fields.required("waves") else {
        return read;
    };
    let Some(items) = reader.short_list(node, "`waves` of the fleet", MOST_WAVES) else {
        return read;
    };
    if items.is_empty() {
        reader.error_with_hint(
            node.span,
            "the fleet has no waves",
            "add one with a `name` and its `regions`; the first is the canary",
        );
        return read;
    }
    read.members_known = true;
    let mut names: HashMap<String, Span> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let what = match item
            .value
            .get("name")
            .and_then(|name| name.value.as_scalar())
        {
            Some(name) => format!("wave {:?}", shortened(&name.text)),
            None => format!("wave {}", index + 1),
        };
        let Some(fields) = reader.fields(item, what, WAVE_FIELDS) else {
            read.members_known = false;
            continue;
        };
        let name = wave_name(reader, &fields, &mut names);
        let policy = wave_policy(reader, &fields, defaults, index == 0);
        if index == 0 && items.len() > 1 && policy.on_failure == OnFailure::Isolate {
            reader.warn(
                fields.get("onFailure").map_or(fields.span, |node| node.span),
                format!(
                    "{} is the first and only isolates what fails: a bad commit goes on to every wave behind it",
                    fields.what()
                ),
                "write `onFailure: revert` or `hold` there",
            );
        }
        let Some((members, members_span, regions)) = members(reader, &fields) else {
            read.members_known = false;
            continue;
        };
        read.places.push(WavePlace {
            members: members_span,
            regions,
        });
        read.waves.push(Wave {
            name: name.map_or_else(|| format!("wave {}", index + 1), |(_, name)| name),
            members,
            policy,
        });
    }
    read
}

fn wave_name(
    reader: &Reader,
    fields: &Fields<'_>,
    names: &mut HashMap<String, Span>,
) -> Option<(Span, String)> {
    let (span, name) = fields.dns_label("name")?;
    if RESERVED_WAVE_NAMES.contains(&name) {
        reader.error_with_hint(
            span,
            format!("a wave cannot be called {name:?}"),
            format!(
                "these names are reserved: {}",
                RESERVED_WAVE_NAMES.join(", ")
            ),
        );
    }
    if let Some(first) = names.get(name) {
        reader.error_with_hint(
            span,
            format!("two waves are called {name:?}"),
            format!(
                "the first one is in line {}; rename one of them",
                first.line
            ),
        );
    } else {
        names.insert(name.to_owned(), span);
    }
    Some((span, name.to_owned()))
}

fn wave_policy(
    reader: &Reader,
    fields: &Fields<'_>,
    defaults: &WaveDefaults<'_>,
    is_canary: bool,
) -> WavePolicy {
    let default = WavePolicy::default();
    let max_failures = fields.amount("maxFailures").unwrap_or(default.max_failures);
    let tolerates = !matches!(max_failures, Amount::Count(0) | Amount::Percent(0));
    if is_canary
        && tolerates
        && let Some(node) = fields.get("maxFailures")
    {
        reader.error_with_hint(
            node.span,
            format!(
                "{} must be 0: it is the canary",
                fields.called("maxFailures")
            ),
            "remove the field; the first wave tolerates no failure",
        );
    }
    let max_concurrent = fields
        .amount("maxConcurrent")
        .unwrap_or(default.max_concurrent);
    if matches!(max_concurrent, Amount::Count(0) | Amount::Percent(0))
        && let Some(node) = fields.get("maxConcurrent")
    {
        reader.error_with_hint(
            node.span,
            format!("{} must be at least 1", fields.called("maxConcurrent")),
            "to stop a fleet use `tidegate hold`; to leave a region alone give it an `exclude`",
        );
    }
    let policy = WavePolicy {
        max_concurrent,
        slot_until: fields
            .word(
                "slotUntil",
                &[("healthy", SlotUntil::Healthy), ("baked", SlotUntil::Baked)],
            )
            .unwrap_or(default.slot_until),
        max_failures,
        max_unreachable: fields
            .amount("maxUnreachable")
            .unwrap_or(default.max_unreachable),
        min_healthy: fields.amount("minHealthy"),
        progress_deadline: fields
            .positive_duration("progressDeadline")
            .unwrap_or(default.progress_deadline),
        bake: fields.duration("bake").unwrap_or(default.bake),
        gates: wave_gates(reader, fields, defaults),
        on_failure: fields
            .word("onFailure", ON_FAILURE)
            .unwrap_or(defaults.on_failure),
        on_unreachable: fields
            .word("onUnreachable", ON_UNREACHABLE)
            .unwrap_or(defaults.on_unreachable),
    };
    warn_of_short_deadline(reader, fields, defaults, &policy);
    policy
}

/// A gate that needs longer than the deadline for its first verdict can only time out.
fn warn_of_short_deadline(
    reader: &Reader,
    fields: &Fields<'_>,
    defaults: &WaveDefaults<'_>,
    policy: &WavePolicy,
) {
    for gate in defaults.gates {
        let sampling = &gate.sampling;
        let (soak, durations) = match &gate.check {
            GateCheck::Http(_) => (Duration::ZERO, "`settle`, `every` or `successes`"),
            GateCheck::Argocd(ArgocdCheck { stable_for, .. })
            | GateCheck::Workloads(WorkloadsCheck { stable_for, .. }) => {
                (*stable_for, "`stableFor`, `settle`, `every` or `successes`")
            }
        };
        let needed = sampling.settle.unwrap_or_default()
            + soak
            + sampling
                .every
                .saturating_mul(sampling.successes.saturating_sub(1));
        if policy.gates.contains(&gate.name) && needed > policy.progress_deadline {
            let text = tidegate_waves::duration::format;
            reader.warn(
                fields
                    .get("progressDeadline")
                    .map_or(fields.span, |node| node.span),
                format!(
                    "gate {:?} needs at least {} to become healthy, but the deadline of {} is {}",
                    gate.name,
                    text(needed),
                    fields.what(),
                    text(policy.progress_deadline)
                ),
                format!("raise `progressDeadline`, or lower {durations} of the gate"),
            );
        }
    }
}

/// The names of the wave's gates, in the fleet's order.
fn wave_gates(reader: &Reader, fields: &Fields<'_>, defaults: &WaveDefaults<'_>) -> Vec<String> {
    let all = || defaults.gates.iter().map(|gate| gate.name.clone());
    let Some(node) = fields.get("gates") else {
        return all().collect();
    };
    let called = fields.called("gates");
    let Some(items) = reader.list(node, &called) else {
        return all().collect();
    };
    if items.is_empty() && !defaults.gate_names.is_empty() {
        reader.warn(
            node.span,
            format!(
                "{} has no gates: nothing stops a bad commit there",
                fields.what()
            ),
            "remove the field to use all gates of the fleet",
        );
    }
    let mut chosen: BTreeMap<&str, Span> = BTreeMap::new();
    for item in items {
        let Some(name) = reader.text(item, &format!("an item of {called}")) else {
            continue;
        };
        if !defaults.gate_names.iter().any(|known| known == name) {
            let known = defaults.gate_names.iter().map(String::as_str);
            reader.error_with_hint(
                item.span,
                format!(
                    "{} names the unknown gate {:?}",
                    fields.what(),
                    shortened(name)
                ),
                match nearest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if defaults.gate_names.is_empty() => "the fleet has no gates".to_owned(),
                    None => format!("the fleet's gates are: {}", defaults.gate_names.join(", ")),
                },
            );
        } else if chosen.insert(name, item.span).is_some() {
            reader.error(
                item.span,
                format!(
                    "{} names the gate {:?} twice",
                    fields.what(),
                    shortened(name)
                ),
            );
        }
    }
    all()
        .filter(|name| chosen.contains_key(name.as_str()))
        .collect()
}

type ReadMembers = (Members, Span, Vec<(String, Span)>);

fn members(reader: &Reader, fields: &Fields<'_>) -> Option<ReadMembers> {
    match (fields.pair("regions"), fields.pair("selector")) {
        (Some(_), Some(selector)) => {
            reader.error_with_hint(
                selector.key.span,
                format!("{} has both `regions` and `selector`", fields.what()),
                "keep one of the two",
            );
            None
        }
        (None, None) => {
            if fields.is_missing("regions") && fields.is_missing("selector") {
                reader.error_with_hint(
                    fields.span,
                    format!("{} does not say which regions it has", fields.what()),
                    "add `regions: [NAME, …]` or `selector: { matchLabels: { … } }`",
                );
            }
            None
        }
        (Some(regions), None) => {
            let called = fields.called("regions");
            let named: Vec<(String, Span)> = reader
                .list(&regions.value, &called)?
                .iter()
                .filter_map(|item| {
                    let name = reader.text(item, &format!("an item of {called}"))?;
                    Some((name.to_owned(), item.span))
                })
                .collect();
            let names = named.iter().map(|(name, _)| name.clone()).collect();
            Some((Members::Regions(names), regions.value.span, named))
        }
        (None, Some(pair)) => {
            let selector = selector(reader, &pair.value, &fields.called("selector"))?;
            Some((Members::Selector(selector), pair.key.span, Vec::new()))
        }
    }
}

const SELECTOR_FIELDS: &[&str] = &["matchLabels", "matchExpressions"];
const REQUIREMENT_FIELDS: &[&str] = &["key", "operator", "values"];

pub(super) fn selector(reader: &Reader, node: &Spanned<Node>, what: &str) -> Option<LabelSelector> {
    let fields = reader.fields(node, what, SELECTOR_FIELDS)?;
    let mut selector = LabelSelector::default();
    if let Some(node) = fields.get("matchLabels") {
        selector.match_labels = reader.text_map(node, &fields.called("matchLabels"))?;
    }
    if let Some(node) = fields.get("matchExpressions") {
        for item in reader.list(node, &fields.called("matchExpressions"))? {
            selector.match_expressions.push(requirement(reader, item)?);
        }
    }
    Some(selector)
}

fn requirement(reader: &Reader, node: &Spanned<Node>) -> Option<Requirement> {
    let fields = reader.fields(node, "an item of `matchExpressions`", REQUIREMENT_FIELDS)?;
    let key = fields.required_text("key");
    fields.required("operator");
    let operator = fields.word(
        "operator",
        &[
            ("In", Operator::In),
            ("NotIn", Operator::NotIn),
            ("Exists", Operator::Exists),
            ("DoesNotExist", Operator::DoesNotExist),
        ],
    );
    let called = fields.called("values");
    let values: Vec<String> = match fields.get("values") {
        Some(node) => reader
            .list(node, &called)?
            .iter()
            .filter_map(|item| reader.text(item, &format!("an item of {called}")))
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let (_, key) = key?;
    let operator = operator?;
    let wants_values = matches!(operator, Operator::In | Operator::NotIn);
    if wants_values == values.is_empty() {
        reader.error(
            fields.get("values").map_or(fields.span, |node| node.span),
            if wants_values {
                "the operators In and NotIn need `values`"
            } else {
                "the operators Exists and DoesNotExist take no `values`"
            },
        );
        return None;
    }
    Some(Requirement {
        key: key.to_owned(),
        operator,
        values,
    })
}
