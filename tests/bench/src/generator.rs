//! Config repos of any size: the same shape and seed give the same bytes.
//!
//! A region's name stands in every manifest, so that no two regions share a blob: the hard case for a renderer
//! that reads each distinct text once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The size and form of a fleet.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The fleet's name.
    pub name: String,
    /// How many regions; the first one is the canary.
    pub regions: usize,
    /// How many waves, the canary's among them.
    pub waves: usize,
    /// How many manifests each region gets, each of about 1 KB.
    pub manifests: usize,
    /// Where each region's health is asked, without the region's name at its end; `None`: no such gate.
    pub health: Option<String>,
    /// Whether a gate asks the regions' clusters.
    pub asks_clusters: bool,
    /// Whether a gate asks an Argo CD.
    pub asks_argocd: bool,
    /// How often a gate is asked.
    pub every: Duration,
    /// What the texts are drawn from.
    pub seed: u64,
}

/// Files by their path in the repo.
pub type Files = BTreeMap<String, String>;

const WORDS: [&str; 24] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper",
    "kelp", "lagoon", "meadow", "north", "orchard", "pebble", "quarry", "ridge", "shoal", "tundra",
    "upland", "valley", "willow", "zephyr",
];

impl Shape {
    /// A fleet of 20 manifests a region, without gates.
    pub fn new(regions: usize, waves: usize, seed: u64) -> Self {
        Self {
            name: "generated".to_owned(),
            regions,
            waves: waves.min(regions),
            manifests: 20,
            health: None,
            asks_clusters: false,
            asks_argocd: false,
            every: Duration::from_secs(1),
            seed,
        }
    }

    /// The same with a gate that asks a server for every region's health.
    #[must_use]
    pub fn gated(self, server: &str, every: Duration) -> Self {
        Self {
            health: Some(server.to_owned()),
            every,
            ..self
        }
    }

    /// The same with a gate that asks the regions' clusters for what was rendered.
    #[must_use]
    pub fn asking_clusters(self, every: Duration) -> Self {
        Self {
            asks_clusters: true,
            every,
            ..self
        }
    }

    /// The same with a gate that asks an Argo CD for the regions' Applications.
    #[must_use]
    pub fn asking_argocd(self, every: Duration) -> Self {
        Self {
            asks_argocd: true,
            every,
            ..self
        }
    }

    /// The name of a region by its number.
    pub fn region(number: usize) -> String {
        format!("r{number:04}")
    }

    /// The name of a wave by its number; the first is the canary.
    pub fn wave(number: usize) -> String {
        if number == 0 {
            "canary".to_owned()
        } else {
            format!("wave-{number}")
        }
    }

    /// The names of all waves in order.
    pub fn wave_names(&self) -> Vec<String> {
        (0..self.waves).map(Self::wave).collect()
    }

    /// The number of the wave that a region is in: the canary alone, all others evenly, in order.
    fn wave_of(&self, region: usize) -> usize {
        match region.checked_sub(1) {
            Some(place) if self.waves > 1 => {
                let others = self.regions - 1;
                1 + place * (self.waves - 1) / others
            }
            _ => 0,
        }
    }

    /// The names of the regions of a wave.
    pub fn regions_of(&self, wave: usize) -> Vec<String> {
        (0..self.regions)
            .filter(|region| self.wave_of(*region) == wave)
            .map(Self::region)
            .collect()
    }

    /// The branch of each region, by its name.
    pub fn branches(&self) -> BTreeMap<String, String> {
        let of_wave = |wave: usize| {
            let branch = format!("tidegate/{}", Self::wave(wave));
            let regions = self.regions_of(wave).into_iter();
            regions.map(move |region| (region, branch.clone()))
        };
        (0..self.waves).flat_map(of_wave).collect()
    }

    /// All files of the fleet.
    pub fn files(&self) -> Files {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut files = Files::new();
        files.insert("tidegate.yaml".to_owned(), self.fleet());
        files.insert("values/fleet.yaml".to_owned(), fleet_values("1.0.0"));
        files.insert("templates/_labels.hbs".to_owned(), LABELS.to_owned());
        for number in 0..self.manifests {
            let (kind, text) = manifest(number, &mut random);
            files.insert(format!("templates/app-{number:02}/{kind}.yaml.hbs"), text);
        }
        for number in 0..self.regions {
            files.insert(Self::region_file(number), self.region_document(number, 0));
        }
        files
    }

    /// The path of a region's document.
    pub fn region_file(number: usize) -> String {
        format!("regions/{}.yaml", Self::region(number))
    }

    /// A region's document; `edition` changes its values.
    pub fn region_document(&self, number: usize, edition: usize) -> String {
        let mut random = fastrand::Rng::with_seed(self.seed ^ (number as u64 + 1));
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: {name}\nlocation: location-{location}\nlabels: {{ ring: {wave}, cloud: azure }}\nvalues:\n  replicas: {replicas}\n  host: {name}.example.com\n  zone: \"{zone}\"\n",
            name = Self::region(number),
            location = number % 40,
            wave = Self::wave(self.wave_of(number)),
            replicas = 2 + (number + edition) % 7,
            zone = random.u32(1..4),
        )
    }

    fn fleet(&self) -> String {
        let mut text = "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\n".to_owned();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "name: {}\nvalues: [values/fleet.yaml]\nwaves:",
            self.name
        );
        for name in self.wave_names() {
            let _ = writeln!(
                text,
                "  - {{ name: {name}, selector: {{ matchLabels: {{ ring: {name} }} }}, maxConcurrent: 100%, bake: 0s }}"
            );
        }
        let http = self.health.as_ref().map(|url| {
            format!("  - name: healthz\n    http: {{ url: \"{url}/{{{{name}}}}/healthz\" }}\n")
        });
        let workloads = self.asks_clusters.then(|| {
            "  - name: workloads\n    workloads: { namespace: platform, stableFor: 0s }\n"
                .to_owned()
        });
        let argocd = self
            .asks_argocd
            .then(|| "  - name: argocd\n    argocd: { stableFor: 0s }\n".to_owned());
        let mut gates = http.into_iter().chain(workloads).chain(argocd).peekable();
        if gates.peek().is_none() {
            text.push_str("gates: []\n");
            return text;
        }
        text.push_str("gates:\n");
        let every = self.every.as_millis();
        for gate in gates {
            let _ = write!(
                text,
                "{gate}    settle: 0s\n    every: {every}ms\n    timeout: {every}ms\n    successes: 1\n    failures: 1\n"
            );
        }
        text
    }
}

/// The values of the whole fleet: another version changes every manifest of every region.
pub fn fleet_values(version: &str) -> String {
    format!(
        "version: \"{version}\"\nregistry: registry.example.com/platform\nresources: {{ cpu: 250m, memory: 256Mi }}\nlogLevel: info\n"
    )
}

const LABELS: &str = "app.kubernetes.io/part-of: platform\napp.kubernetes.io/managed-by: tidegate\nregion: {{name}}\n";

/// One template, and the kind of what it renders to: about 1 KB.
fn manifest(number: usize, random: &mut fastrand::Rng) -> (&'static str, String) {
    let name = format!("app-{number:02}");
    let mut words = |count: usize| -> String {
        (0..count)
            .map(|_| WORDS[random.usize(0..WORDS.len())])
            .collect::<Vec<_>>()
            .join(" ")
    };
    match number % 4 {
        0 | 1 => (
            "deployment",
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: platform\n  labels:\n{{{{indent 4 (include \"_labels\")}}}}\n  annotations:\n    description: \"{}\"\nspec:\n  replicas: {{{{values.replicas}}}}\n  selector:\n    matchLabels: {{ app: {name} }}\n  template:\n    metadata:\n      labels:\n        app: {name}\n{{{{indent 8 (include \"_labels\")}}}}\n    spec:\n      containers:\n        - name: {name}\n          image: \"{{{{values.registry}}}}/{name}:{{{{values.version}}}}\"\n          args: [\"--region={{{{name}}}}\", \"--zone={{{{values.zone}}}}\", \"--log-level={{{{values.logLevel}}}}\"]\n          ports: [{{ name: http, containerPort: 8080 }}]\n          resources:\n            requests: {{ cpu: {{{{values.resources.cpu}}}}, memory: {{{{values.resources.memory}}}} }}\n          readinessProbe:\n            httpGet: {{ path: /healthz, port: http }}\n",
                words(20)
            ),
        ),
        2 => {
            let mut text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: platform\n  labels:\n{{{{indent 4 (include \"_labels\")}}}}\ndata:\n  VERSION: {{{{quote values.version}}}}\n"
            );
            for line in 0..10 {
                let _ = writeln!(text, "  SETTING_{line}: \"{}\"", words(9));
            }
            ("configmap", text)
        }
        _ => {
            let mut text = format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: platform\n  labels:\n{{{{indent 4 (include \"_labels\")}}}}\n  annotations:\n    external-dns.alpha.kubernetes.io/hostname: {name}.{{{{values.host}}}}\n    platform.example.com/version: {{{{quote values.version}}}}\n"
            );
            for line in 0..8 {
                let _ = writeln!(text, "    platform.example.com/note-{line}: {}", words(10));
            }
            text.push_str("spec:\n  selector: { app: ");
            text.push_str(&name);
            text.push_str(" }\n  ports:\n    - { name: http, port: 80, targetPort: http }\n");
            ("service", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(regions: usize, waves: usize, seed: u64) -> Shape {
        Shape::new(regions, waves, seed)
    }

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_seed_others() {
        assert_eq!(shape(10, 3, 1).files(), shape(10, 3, 1).files());
        assert_ne!(shape(10, 3, 1).files(), shape(10, 3, 2).files());
    }

    #[test]
    fn every_region_is_in_one_wave_and_the_canary_is_alone() {
        for (regions, waves) in [(10, 3), (100, 10), (1000, 10), (2, 2), (1, 1)] {
            let shape = shape(regions, waves, 1);
            let sizes: Vec<usize> = (0..waves)
                .map(|wave| shape.regions_of(wave).len())
                .collect();
            assert_eq!(sizes[0], 1);
            assert_eq!(sizes.iter().sum::<usize>(), regions);
            assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
        }
    }
}
