//! The documents of `regions/*.yaml`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_waves::fleet::{Exclusion, Region};

use super::reader::{Fields, Reader};
use super::until::end_of;
use crate::values::Layer;
use crate::yaml::{Node, Span, Spanned, shortened};

const REGION_FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "name",
    "location",
    "cluster",
    "labels",
    "values",
    "exclude",
];

/// A region's document, read.
pub(super) struct ReadRegion {
    pub(super) region: Region,
    /// The `values` of the document.
    pub(super) values: Option<Arc<Layer>>,
    /// Whether its labels and values are read whole.
    pub(super) values_known: bool,
    /// Where its name stands.
    pub(super) name_span: Span,
    /// Where its exclusion stands, if it has one.
    pub(super) exclude_span: Option<Span>,
}

/// Reads one document; `None` if it is none of ours or has no usable name.
pub(super) fn read(reader: &Reader, document: &Spanned<Node>) -> Option<ReadRegion> {
    let named = document
        .value
        .get("name")
        .and_then(|name| name.value.as_scalar())
        .map_or_else(
            || "the region".to_owned(),
            |name| format!("region {:?}", shortened(&name.text)),
        );
    let fields = reader.fields(document, named, REGION_FIELDS)?;
    let is_region = reader.is_document(&fields, "Region");
    let name = fields.dns_label("name");
    let location = fields.text("location").map(str::to_owned);
    let cluster = fields.text("cluster").map(str::to_owned);
    let errors = reader.errors();
    let labels = labels(reader, &fields);
    let labels_known =
        reader.errors() == errors && fields.is_certain("labels") && fields.is_certain("values");
    let mut values_known = true;
    let values = fields.get("values").map(|node| {
        let mut findings = Vec::new();
        let layer = Layer::new(
            Arc::clone(&reader.source().file),
            node.clone(),
            &mut findings,
        );
        values_known =
            node.value.as_mapping().is_some() && findings.iter().all(|finding| finding.harmless);
        reader.findings(findings);
        Arc::new(layer)
    });
    let exclude = fields
        .get("exclude")
        .map(|node| exclusion(reader, node, fields.what()));
    let (name_span, name) = name?;
    is_region
        .then(|| Region {
            name: name.to_owned(),
            location: location.unwrap_or_else(|| name.to_owned()),
            cluster: cluster.unwrap_or_else(|| name.to_owned()),
            labels,
            exclude,
        })
        .map(|region| ReadRegion {
            region,
            values,
            values_known: labels_known && values_known,
            name_span,
            exclude_span: fields.pair("exclude").map(|pair| pair.key.span),
        })
}

fn labels(reader: &Reader, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let Some(node) = fields.get("labels") else {
        return BTreeMap::new();
    };
    for pair in node.value.as_mapping().unwrap_or_default() {
        let text = pair
            .value
            .value
            .as_scalar()
            .map_or("", |scalar| &*scalar.text);
        for (span, text) in [(pair.key.span, &*pair.key.value), (pair.value.span, text)] {
            if text.chars().any(char::is_control) {
                reader.error(
                    span,
                    format!(
                        "a label of {} contains a line break or another control character",
                        fields.what()
                    ),
                );
            }
        }
    }
    reader
        .text_map(node, &fields.called("labels"))
        .unwrap_or_default()
}

const EXCLUDE_FIELDS: &[&str] = &["reason", "until"];

/// An exclusion counts even if it is written wrongly: the region must not also be missed in its wave.
fn exclusion(reader: &Reader, node: &Spanned<Node>, region: &str) -> Exclusion {
    let nothing = Exclusion {
        reason: String::new(),
        until: None,
    };
    let Some(fields) = reader.fields(node, format!("`exclude` of {region}"), EXCLUDE_FIELDS) else {
        return nothing;
    };
    let reason = fields.required_text("reason");
    let until = fields.text("until").and_then(|until| match end_of(until) {
        Ok(_) => Some(until.to_owned()),
        Err(error) => {
            if let Some(node) = fields.get("until") {
                reader.error_with_hint(
                    node.span,
                    format!("{}: {error}", fields.called("until")),
                    "a date means the end of that day, UTC",
                );
            }
            None
        }
    });
    Exclusion {
        reason: reason.map_or(String::new(), |(_, reason)| reason.to_owned()),
        until,
    }
}
