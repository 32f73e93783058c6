//! A plan as people read it: on a terminal, or in a pull request.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use tidegate_renderer::diff::{Change, FieldChange, Group, ObjectChange, Plan, RegionChange};

use crate::cli::report::counted;
use crate::cli::terminal::{Stream, Style, Terminal};

/// How many characters of a value are shown.
const VALUE_WIDTH: usize = 48;

/// How many regions are named before the rest is only counted.
const NAMED_REGIONS: usize = 8;

/// The plan for a terminal; `wide` lists every region with its tree.
pub(super) fn table(plan: &Plan, base: &str, wide: bool, terminal: &Terminal) -> String {
    let mut page = format!("{}\n", summary(plan, base));
    if changed(plan).next().is_none() {
        return page;
    }
    page.push('\n');
    let paint = |style, text: &str| terminal.paint(Stream::Stdout, style, text);
    for group in &plan.groups {
        let head = paint(Style::Strong, &heading(group, plan, wide));
        let _ = writeln!(page, "{head}");
        for object in &group.objects {
            let line = format!("{} {}", sign(object.change), object_name(object));
            let _ = writeln!(page, "  {}", paint(style(object.change), &line));
            for field in &object.fields {
                let _ = writeln!(page, "      {}", field_line(field));
            }
        }
        page.push('\n');
    }
    for (reason, message) in holds(plan, wide) {
        let word = paint(Style::Warning, &format!("Holds, {reason}:"));
        let _ = writeln!(page, "{word} {message}");
    }
    if !plan.unseen_by_earlier_wave.is_empty() {
        let count = plan.unseen_by_earlier_wave.len();
        let verb = if count == 1 { "receives" } else { "receive" };
        let _ = writeln!(
            page,
            "{} {verb} a change that no earlier wave has seen: {}",
            counted(count, "region"),
            list(&plan.unseen_by_earlier_wave, wide)
        );
    }
    if !plan.holds.is_empty() || !plan.unseen_by_earlier_wave.is_empty() {
        page.push('\n');
    }
    if wide {
        page.push_str(&region_table(&plan.regions));
    } else {
        page.push_str(&wave_table(&plan.regions));
    }
    page
}

/// The plan for a pull request.
pub(super) fn markdown(plan: &Plan, base: &str) -> String {
    let mut page = format!("{}\n", summary(plan, base));
    if changed(plan).next().is_none() {
        return page;
    }
    page.push('\n');
    for (reason, message) in holds(plan, false) {
        let _ = writeln!(page, "* Holds, `{reason}`: {message}");
    }
    if !plan.unseen_by_earlier_wave.is_empty() {
        let _ = writeln!(
            page,
            "* No earlier wave has seen the change of {}",
            list(&plan.unseen_by_earlier_wave, true)
        );
    }
    for group in &plan.groups {
        let _ = writeln!(page, "\n### {}\n\n```diff", heading(group, plan, true));
        for object in &group.objects {
            // GitHub and others colour a diff's lines by their first character.
            let first = match object.change {
                Change::Added => '+',
                Change::Removed => '-',
                Change::Changed | Change::None => '!',
            };
            let _ = writeln!(page, "{first} {}", object_name(object));
            for field in &object.fields {
                let _ = writeln!(page, "    {}", field_line(field));
            }
        }
        page.push_str("```\n");
    }
    page.push_str("\n| wave | region | change |\n|---|---|---|\n");
    for region in &plan.regions {
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            region.wave.as_deref().unwrap_or("–"),
            region.name,
            word(region.change)
        );
    }
    page
}

fn summary(plan: &Plan, base: &str) -> String {
    let base = match base {
        "nothing" => "nothing to compare with".to_owned(),
        base => format!("compared with {base}"),
    };
    let regions = match changed(plan).count() {
        0 => format!("No region changes, {base}."),
        count => {
            let verb = if count == 1 { "changes" } else { "change" };
            let all = counted(plan.regions.len(), "region");
            format!("{count} of {all} {verb}, {base}.")
        }
    };
    if plan.policy.is_empty() {
        regions
    } else {
        format!("{regions}\nThe policy changes: {}.", plan.policy.join(", "))
    }
}

/// By reason, what will hold: a message, and how many more there are like it unless `all` are wanted.
fn holds(plan: &Plan, all: bool) -> Vec<(String, String)> {
    let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
    for hold in &plan.holds {
        // Its name in the closed list that scripts match on.
        let reason = serde_json::to_value(hold.reason).unwrap_or_default();
        let reason = reason.as_str().unwrap_or_default().to_owned();
        let message = one_line(&hold.message);
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, messages)) => messages.push(message),
            None => by_reason.push((reason, vec![message])),
        }
    }
    let mut lines = Vec::new();
    for (reason, messages) in by_reason {
        let shown = if all { messages.len() } else { 1 };
        let more = messages.len() - shown.min(messages.len());
        for message in messages.into_iter().take(shown) {
            let suffix = match more {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            lines.push((reason.clone(), format!("{message}{suffix}")));
        }
    }
    lines
}

/// The regions that would change.
pub(super) fn changed(plan: &Plan) -> impl Iterator<Item = &RegionChange> {
    plan.regions
        .iter()
        .filter(|region| region.change != Change::None)
}

fn heading(group: &Group, plan: &Plan, all: bool) -> String {
    let others = changed(plan).count().saturating_sub(group.regions.len());
    let same = match group.regions.as_slice() {
        [one] => one.clone(),
        several => format!(
            "Same in {}: {}",
            counted(several.len(), "region"),
            list(several, all)
        ),
    };
    if others == 0 {
        same
    } else {
        let verb = if others == 1 { "differs" } else { "differ" };
        format!("{same} ({others} {verb})")
    }
}

fn list(names: &[String], all: bool) -> String {
    let shown = if all { names.len() } else { NAMED_REGIONS };
    let mut text = names
        .iter()
        .take(shown)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > shown {
        let _ = write!(text, " and {} more", names.len() - shown);
    }
    text
}

fn object_name(object: &ObjectChange) -> String {
    let name = match &object.namespace {
        Some(namespace) => format!("{namespace}/{}", object.name),
        None => object.name.clone(),
    };
    format!("{} {name}  ({})", object.kind, object.api_version)
}

fn field_line(field: &FieldChange) -> String {
    let path = &field.path;
    match (&field.old, &field.new) {
        (Some(old), Some(new)) => format!("{path}: {} → {}", value(old), value(new)),
        (None, Some(new)) => format!("{path}: added {}", value(new)),
        (Some(old), None) => format!("{path}: removed {}", value(old)),
        (None, None) => path.clone(),
    }
}

fn value(value: &Value) -> String {
    let text = one_line(&value.to_string());
    match text.char_indices().nth(VALUE_WIDTH) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Text from a repo, as one line that cannot steer a terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
        Change::None => ' ',
    }
}

fn style(change: Change) -> Style {
    match change {
        Change::Added => Style::Good,
        Change::Removed => Style::Error,
        Change::Changed => Style::Warning,
        Change::None => Style::Faint,
    }
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
        Change::None => "none",
    }
}

fn wave_table(regions: &[RegionChange]) -> String {
    let mut waves: Vec<&str> = Vec::new();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for region in regions {
        let wave = region.wave.as_deref().unwrap_or("–");
        if !waves.contains(&wave) {
            waves.push(wave);
        }
        let (changing, all) = counts.entry(wave).or_default();
        *changing += usize::from(region.change != Change::None);
        *all += 1;
    }
    let width = waves
        .iter()
        .map(|wave| wave.chars().count())
        .max()
        .unwrap_or_default()
        .max(4);
    let mut text = format!("{:width$}  REGIONS THAT CHANGE\n", "WAVE");
    for wave in waves {
        let (changing, all) = counts.get(wave).copied().unwrap_or_default();
        let _ = writeln!(text, "{wave:width$}  {changing} of {all}");
    }
    text
}

fn region_table(regions: &[RegionChange]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["WAVE", "REGION", "CHANGE", "TREE"]);
    for region in regions {
        table.add_row([
            region.wave.as_deref().unwrap_or("–").to_owned(),
            region.name.clone(),
            word(region.change).to_owned(),
            region.tree.map(|tree| tree.short(12)).unwrap_or_default(),
        ]);
    }
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end().trim_start());
    }
    text
}
