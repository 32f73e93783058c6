//! A document of `regions/*.yaml`, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// A region: one cluster in one cloud location.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Region {
    /// The version of the document.
    #[schemars(extend("const" = "tidegate.dev/v1alpha1"))]
    pub api_version: String,
    /// The kind of the document.
    #[schemars(extend("const" = "Region"))]
    pub kind: String,
    /// The region's name, a DNS label, unique in the fleet.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// Its cloud location; by default its name.
    pub location: Option<String>,
    /// The name under which settings and Argo CD know its cluster; by default its name.
    pub cluster: Option<String>,
    /// Its labels, which selectors and templates see.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its highest layer of values.
    pub values: Option<BTreeMap<String, Value>>,
    /// Leaves the region exactly as it is.
    pub exclude: Option<Exclude>,
}

/// Why a region is left as it is.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exclude {
    /// Why.
    pub reason: String,
    /// The last day of it (`2027-01-31`) or an RFC 3339 time; once past it only warns.
    #[schemars(regex(
        pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    ))]
    pub until: Option<String>,
}
