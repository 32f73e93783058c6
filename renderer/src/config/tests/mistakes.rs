//! Bad input and the exact words about it.

use super::*;

/// Notes what is found in a tree if it is not what is wanted (with `|` between several).
fn expect(tree: &MemoryTree, wanted: &str, wrong: &mut Vec<String>) {
    let found = found(tree).join(" | ");
    if found != wanted {
        wrong.push(format!("\nfound:  {found}\nwanted: {wanted}\n"));
    }
}

#[test]
fn every_mistake_in_the_fleet_is_told_with_its_place_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for (that, this, wanted) in [
        (
            "v1alpha1",
            "v1",
            "tidegate.yaml:1:13: error: unknown apiVersion \"tidegate.dev/v1\" => write apiVersion: tidegate.dev/v1alpha1",
        ),
        (
            "kind: Fleet",
            "kind: Flet",
            "tidegate.yaml:2:7: error: this document must be of kind Fleet, found \"Flet\" => write kind: Fleet",
        ),
        (
            "kind: Fleet\n",
            "",
            "tidegate.yaml:1:1: error: the fleet has no `kind` => add a line `kind: …`",
        ),
        (
            "name: payments\n",
            "",
            "tidegate.yaml:1:1: error: the fleet has no `name` => add a line `name: …`",
        ),
        (
            "name: payments",
            "name: Payments",
            "tidegate.yaml:3:7: error: `name` of the fleet is no DNS label: \"Payments\" => use up to 63 lower-case letters, digits and dashes, no dash at either end",
        ),
        (
            "name: payments",
            "name: 12",
            "tidegate.yaml:3:7: error: `name` of the fleet must be text, found the number 12 => quote it: \"12\"",
        ),
        (
            "waves:",
            "wavs: []\nwaves:",
            "tidegate.yaml:7:1: error: unknown field `wavs` in the fleet => did you mean `waves`?",
        ),
        (
            "waves:",
            "wavs:",
            "tidegate.yaml:7:1: error: unknown field `wavs` in the fleet => did you mean `waves`?",
        ),
        (
            "gates:\n",
            "gate:\n",
            "tidegate.yaml:13:1: error: unknown field `gate` in the fleet => did you mean `gates`?",
        ),
        (
            "    regions: [",
            "    regoins: [",
            "tidegate.yaml:9:5: error: unknown field `regoins` in wave \"canary\" => did you mean `regions`?",
        ),
        (
            "    http:",
            "    htp:",
            "tidegate.yaml:15:5: error: unknown field `htp` in gate \"healthz\" => did you mean `http`?",
        ),
        (
            "      url:",
            "      uri:",
            "tidegate.yaml:16:7: error: unknown field `uri` in `http` of gate \"healthz\" => did you mean `url`?",
        ),
        (
            "waves:",
            "colour: red\nwaves:",
            "tidegate.yaml:7:1: error: unknown field `colour` in the fleet => known fields: apiVersion, kind, name, values, waves, gates, onFailure, onUnreachable, revert, guards",
        ),
        (
            "name: payments",
            "name: payments\nname: other",
            "tidegate.yaml:4:1: error: duplicate key `name` => it stands in line 3 already; remove one of the two",
        ),
        (
            "    maxConcurrent: 25%",
            "    maxConcurent: 25%",
            "tidegate.yaml:12:5: error: unknown field `maxConcurent` in wave \"broad\" => did you mean `maxConcurrent`?",
        ),
        (
            "25%",
            "25.5%",
            "tidegate.yaml:12:20: error: `maxConcurrent` of wave \"broad\" must be a number or a percentage, found the text \"25.5%\" => write a whole number such as 2, or a whole percentage from 0% to 100%",
        ),
        (
            "25%",
            "101%",
            "tidegate.yaml:12:20: error: `maxConcurrent` of wave \"broad\" must be a number or a percentage, found the text \"101%\" => write a whole number such as 2, or a whole percentage from 0% to 100%",
        ),
        (
            "25%",
            "0",
            "tidegate.yaml:12:20: error: `maxConcurrent` of wave \"broad\" must be at least 1 => to stop a fleet use `tidegate hold`; to leave a region alone give it an `exclude`",
        ),
        (
            "[westus3]",
            "[westus3]\n    maxFailures: 1",
            "tidegate.yaml:10:18: error: `maxFailures` of wave \"canary\" must be 0: it is the canary => remove the field; the first wave tolerates no failure",
        ),
        (
            "[westus3]",
            "[westus3]\n    bake: 10",
            "tidegate.yaml:10:11: error: `bake` of wave \"canary\": \"10\" is not a duration: a unit is missing => write whole numbers with the units ms, s, m or h, such as 30s, 10m or 1h30m",
        ),
        (
            "[westus3]",
            "[westus3]\n    bake: 1.5h",
            "tidegate.yaml:10:11: error: `bake` of wave \"canary\": \"1.5h\" is not a duration: it has a fraction => write whole numbers with the units ms, s, m or h, such as 30s, 10m or 1h30m",
        ),
        (
            "[westus3]",
            "[westus3]\n    progressDeadline: 0",
            "tidegate.yaml:10:23: error: `progressDeadline` of wave \"canary\" must be more than 0",
        ),
        (
            "[westus3]",
            "[westus3]\n    slotUntil: backed",
            "tidegate.yaml:10:16: error: `slotUntil` of wave \"canary\" must be one of healthy, baked, found the text \"backed\" => did you mean `baked`?",
        ),
        (
            "[westus3]",
            "[westus3]\n    onFailure: [revert]",
            "tidegate.yaml:10:16: error: `onFailure` of wave \"canary\" must be one of revert, hold, isolate, found a list => write one of revert, hold, isolate",
        ),
        (
            "[westus3]",
            "[westus3]\n    onFailure: isolate",
            "tidegate.yaml:10:16: warning: wave \"canary\" is the first and only isolates what fails: a bad commit goes on to every wave behind it => write `onFailure: revert` or `hold` there",
        ),
        (
            "[westus3]",
            "[westus3]\n    gates: [healthy]",
            "tidegate.yaml:10:13: error: wave \"canary\" names the unknown gate \"healthy\" => did you mean `healthz`?",
        ),
        (
            "[westus3]",
            "[westus3]\n    gates: healthz",
            "tidegate.yaml:10:12: error: `gates` of wave \"canary\" must be a list, found the text \"healthz\" => write [healthz]",
        ),
        (
            "[westus3]",
            "[westus3]\n    gates: [healthz, healthz]",
            "tidegate.yaml:10:22: error: wave \"canary\" names the gate \"healthz\" twice",
        ),
        (
            "[westus3]",
            "[westus3]\n    gates: []",
            "tidegate.yaml:10:12: warning: wave \"canary\" has no gates: nothing stops a bad commit there => remove the field to use all gates of the fleet",
        ),
        (
            "[westus3]",
            "[westus3]\n    progressDeadline: 40s",
            "tidegate.yaml:10:23: warning: gate \"healthz\" needs at least 50s to become healthy, but the deadline of wave \"canary\" is 40s => raise `progressDeadline`, or lower `settle`, `every` or `successes` of the gate",
        ),
        (
            "  - name: healthz\n",
            "  - { name: running, workloads: { stableFor: 31m } }\n  - name: healthz\n",
            "tidegate.yaml:8:5: warning: gate \"running\" needs at least 31m to become healthy, but the deadline of wave \"canary\" is 30m => raise `progressDeadline`, or lower `stableFor`, `settle`, `every` or `successes` of the gate | tidegate.yaml:10:5: warning: gate \"running\" needs at least 31m to become healthy, but the deadline of wave \"broad\" is 30m => raise `progressDeadline`, or lower `stableFor`, `settle`, `every` or `successes` of the gate",
        ),
        (
            "name: canary",
            "name: log",
            "tidegate.yaml:8:11: error: a wave cannot be called \"log\" => these names are reserved: log, requests, revert",
        ),
        (
            "name: broad",
            "name: canary",
            "tidegate.yaml:10:11: error: two waves are called \"canary\" => the first one is in line 8; rename one of them",
        ),
        (
            "regions: [westus3]",
            "regions: [westus]",
            "tidegate.yaml:9:15: error: wave \"canary\" names region \"westus\", which does not exist => did you mean `westus3`?",
        ),
        (
            "regions: [westus3]",
            "regions: [westus3, eastus2]",
            "tidegate.yaml:11:5: error: region \"eastus2\" is in wave \"canary\" and in wave \"broad\"; every region belongs to exactly one => remove it from one of them",
        ),
        (
            "regions: [westus3]",
            "regions: [westus3, westus3]",
            "tidegate.yaml:9:24: error: region \"westus3\" stands twice in wave \"canary\" => remove it from one of them",
        ),
        (
            "ring: broad",
            "ring: braod",
            "regions/eastus2.yaml:3:7: error: region \"eastus2\" is in no wave (region eastus2) => add it to a wave of tidegate.yaml, or give it an `exclude`",
        ),
        (
            "    selector:",
            "    regions: []\n    selector:",
            "tidegate.yaml:12:5: error: wave \"broad\" has both `regions` and `selector` => keep one of the two",
        ),
        (
            "    selector: { matchLabels: { ring: broad } }\n",
            "",
            "tidegate.yaml:10:5: error: wave \"broad\" does not say which regions it has => add `regions: [NAME, …]` or `selector: { matchLabels: { … } }`",
        ),
        (
            "{ matchLabels: { ring: broad } }",
            "{ matchExpressions: [{ key: ring, operator: In }] }",
            "tidegate.yaml:11:36: error: the operators In and NotIn need `values`",
        ),
        (
            "{ matchLabels: { ring: broad } }",
            "{ matchExpressions: [{ key: ring, operator: in, values: [broad] }] }",
            "tidegate.yaml:11:59: error: `operator` of an item of `matchExpressions` must be one of In, NotIn, Exists, DoesNotExist, found the text \"in\" => did you mean `In`?",
        ),
        (
            "{ matchLabels: { ring: broad } }",
            "{ matchLabels: { ring: broad, tier: 1 } }",
            "tidegate.yaml:11:51: error: `tier` of `matchLabels` of `selector` of wave \"broad\" must be text, found the number 1 => quote it: \"1\"",
        ),
        (
            "values/fleet.yaml",
            "values/flet.yaml",
            "tidegate.yaml:5:5: error: the values file values/flet.yaml does not exist (regions eastus2, westus3) => did you mean values/fleet.yaml?",
        ),
        (
            "values/fleet.yaml",
            "values/{{labels.rign}}.yaml",
            "tidegate.yaml:5:5: error: there is no label \"rign\" for this path (regions eastus2, westus3) => did you mean {{labels.ring}}?",
        ),
        (
            "values/fleet.yaml",
            "../values.yaml",
            "tidegate.yaml:5:5: error: the path \"../values.yaml\" leaves the repo (regions eastus2, westus3) => paths are relative to the fleet's folder; `/…` means the repo's root",
        ),
        (
            "values/fleet.yaml",
            "\"{{nam}}.yaml\"",
            "tidegate.yaml:5:5: error: `{{nam}}` is unknown in the path of a values layer; known are {{name}}, {{location}}, {{cluster}}, {{fleet.name}} and {{labels.NAME}} => did you mean {{name}}?",
        ),
        (
            "optional: true",
            "optonal: true",
            "tidegate.yaml:6:44: error: unknown field `optonal` in values layer 2 => did you mean `optional`?",
        ),
        (
            "optional: true",
            "optional: yes",
            "tidegate.yaml:6:54: error: `optional` of values layer 2 must be one of true, false, found the text \"yes\" => write one of true, false",
        ),
        (
            "    http:",
            "    prometheus: {}\n    htp:",
            "tidegate.yaml:15:5: error: gate \"healthz\" is of the unknown type `prometheus` => the types of gates in this version are `http`, `argocd` and `workloads`",
        ),
        (
            "settle: 30s",
            "settle: 30s\n    timeout: 20s",
            "tidegate.yaml:19:14: error: gate \"healthz\" has a timeout of 20s but is asked every 10s => `timeout` (default 5s) may be at most `every` (default 10s)",
        ),
        (
            "settle: 30s",
            "settle: 30s\n    every: 1s",
            "tidegate.yaml:19:12: error: gate \"healthz\" has a timeout of 5s but is asked every 1s => `timeout` (default 5s) may be at most `every` (default 10s)",
        ),
        (
            "settle: 30s",
            "settle: 30s\n    successes: 0",
            "tidegate.yaml:19:16: error: `successes` of gate \"healthz\" must be a whole number, at least 1, found the number 0",
        ),
        (
            "https://{{values.host}}/healthz",
            "{{values.host}}.example.com",
            "",
        ),
        (
            "https://{{values.host}}/healthz",
            "ftp://example.com/",
            "tidegate.yaml:16:12: error: `url` of `http` of gate \"healthz\" must be an absolute http or https URL: \"ftp://example.com/\" => write https://HOST/PATH, or name an `endpoint` of the operator's settings",
        ),
        (
            "https://{{values.host}}/healthz",
            "/healthz",
            "tidegate.yaml:16:12: error: `url` of `http` of gate \"healthz\" must be an absolute http or https URL: \"/healthz\" => write https://HOST/PATH, or name an `endpoint` of the operator's settings",
        ),
        (
            "https://{{values.host}}/healthz",
            "https://me:secret@example.com/",
            "tidegate.yaml:16:12: error: `url` of `http` of gate \"healthz\" contains credentials => secrets do not belong into the config repo: let the operator define an `endpoint`",
        ),
        (
            "      url:",
            "      endpoint: api\n      url:",
            "tidegate.yaml:17:12: error: `url` of `http` of gate \"healthz\" must be relative, because there is an `endpoint`: \"https://{{values.host}}/healthz\" => write the path only, such as /healthz, or remove `endpoint`",
        ),
        (
            "status: 200",
            "status: [200, 99]",
            "tidegate.yaml:17:31: error: `status` of `expect` of gate \"healthz\" must be a whole number from 100 to 599, found the number 99",
        ),
        (
            "status: 200",
            "status: []",
            "tidegate.yaml:17:25: error: `status` of `expect` of gate \"healthz\" is an empty list: no answer could be healthy => write 200, or a list such as [200, 204]",
        ),
        (
            "/version",
            "app.version",
            "tidegate.yaml:17:38: error: \"app.version\" is no JSON pointer => a pointer starts with a slash: /app/version",
        ),
        (
            "/version",
            "/a~b",
            "tidegate.yaml:17:38: error: \"/a~b\" is no JSON pointer => write ~0 for a tilde and ~1 for a slash within a name",
        ),
        (
            "gates:\n",
            "revert: { source: pr }\ngates:\n",
            "tidegate.yaml:13:19: error: `source` of `revert` of the fleet must be one of commit, pullRequest, never, found the text \"pr\" => write one of commit, pullRequest, never",
        ),
        (
            "gates:\n",
            "guards: { maxDeletedObjectsPercent: 30% }\ngates:\n",
            "tidegate.yaml:13:37: error: `maxDeletedObjectsPercent` of `guards` of the fleet must be a whole number from 0 to 100, found the text \"30%\"",
        ),
        (
            "gates:\n",
            "guards: { protectedKinds: [deployment] }\ngates:\n",
            "tidegate.yaml:13:28: error: \"deployment\" is no kind of object => write Kind or Kind.group, such as Service or Deployment.apps",
        ),
        (
            "  - name: canary\n    regions: [westus3]",
            "  - [canary]\n  - name: canary\n    regions: [westus3]",
            "tidegate.yaml:8:5: error: wave 1 must be a mapping, found a list => its fields are: name, regions, selector, maxConcurrent, slotUntil, maxFailures, maxUnreachable, minHealthy, progressDeadline, bake, gates, onFailure, onUnreachable",
        ),
    ] {
        expect(&mistake("tidegate.yaml", that, this), wanted, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn every_mistake_in_regions_values_and_files_is_told() {
    let with = |path: &str, content: &str| good().with(path, content);
    let bytes = |path: &[u8], content: &[u8]| good().with(path, content);
    let entry = |path: &str, kind: EntryKind| {
        let mut tree = good();
        tree.insert(path, kind, "/etc/passwd");
        tree
    };
    let without = |path: &str| {
        let mut tree = good();
        tree.remove(path);
        tree
    };
    let west = |that: &str, this: &str| mistake("regions/westus3.yaml", that, this);
    let mut wrong = Vec::new();
    for (tree, wanted) in [
        (
            without("tidegate.yaml"),
            "tidegate.yaml:1:1: error: there is no tidegate.yaml at this commit => `tidegate init` writes a config repo to start from",
        ),
        (
            with("tidegate.yaml", "# nothing yet\n"),
            "tidegate.yaml:1:1: error: the file is empty => `tidegate init` writes one to start from",
        ),
        (
            with("tidegate.yaml", &format!("{FLEET}---\n{WEST}")),
            "tidegate.yaml:20:1: error: there is more than one document in this file => a fleet is one document; regions belong into regions/*.yaml",
        ),
        (
            with("tidegate.yaml", "a: [1\n"),
            "tidegate.yaml:1:4: error: the bracket [ is not closed => close it, or quote the text",
        ),
        (
            west("name: westus3", "name: west_us"),
            "regions/westus3.yaml:3:7: error: `name` of region \"west_us\" is no DNS label: \"west_us\" => use up to 63 lower-case letters, digits and dashes, no dash at either end",
        ),
        (
            west("kind: Region", "kind: Reg"),
            "regions/westus3.yaml:2:7: error: this document must be of kind Region, found \"Reg\" => write kind: Region",
        ),
        (
            west("ring: canary", "ring: 1"),
            "regions/westus3.yaml:4:17: error: `ring` of `labels` of region \"westus3\" must be text, found the number 1 => quote it: \"1\"",
        ),
        (
            west("labels: { ring: canary }", "labels:"),
            "regions/westus3.yaml:4:7: error: `labels` of region \"westus3\" must be a mapping, found nothing (null) => write {} for an empty one, or remove the field",
        ),
        (
            west("labels:", "label:"),
            "regions/westus3.yaml:4:1: error: unknown field `label` in region \"westus3\" => did you mean `labels`?",
        ),
        (
            west("replicas: 1", "replicas: 1, replicas: 2"),
            "regions/westus3.yaml:5:24: error: duplicate key `replicas` => it stands in line 5 already; remove one of the two",
        ),
        (
            west("replicas: 1", "replicas: 99999999999999999999"),
            "regions/westus3.yaml:5:21: error: the number 99999999999999999999 is too large to be kept exactly => quote it to keep it as text: \"99999999999999999999\"",
        ),
        (
            west("values: { replicas: 1 }", "values: [1]"),
            "regions/westus3.yaml:5:9: error: values must be a mapping, found a list => write `name: value` lines",
        ),
        (
            west("replicas: 1", "debug: no"),
            "regions/westus3.yaml:5:18: warning: no is text here, but a boolean for readers of YAML 1.1 => write false, or quote it: \"no\"",
        ),
        (
            west("values: ", "exclude: { until: 2027-01-31 }\nvalues: "),
            "regions/westus3.yaml:5:10: error: `exclude` of region \"westus3\" has no `reason` => add a line `reason: …` | tidegate.yaml:9:14: error: the canary wave \"canary\" has no region; the first wave must have at least one => the canary needs a region that is not excluded",
        ),
        (
            mistake(
                "regions/eastus2.yaml",
                "labels: ",
                "exclude: { reason: x, until: 2027-02-30 }\nlabels: ",
            ),
            "regions/eastus2.yaml:5:30: error: `until` of `exclude` of region \"eastus2\": \"2027-02-30\" is neither a date such as 2027-01-31 nor a time such as 2027-01-31T18:00:00Z => a date means the end of that day, UTC",
        ),
        (
            with("regions/again.yaml", EAST),
            "regions/eastus2.yaml:3:7: error: two regions are called \"eastus2\" => the first one is at regions/again.yaml:3; rename one of them",
        ),
        (
            with("regions/other.yml", EAST),
            "regions/other.yml:1:1: warning: this file is ignored: only *.yaml files in regions/ are read as regions => rename it to end in .yaml",
        ),
        (
            with("regions/other.yaml.hbs", EAST),
            "regions/other.yaml.hbs:1:1: warning: this file is ignored: only *.yaml files in regions/ are read as regions => the documents in regions/ are not templates; templates belong into templates/ or regions/NAME/",
        ),
        (
            with("regions/westus/extra.yaml", "{}"),
            "regions/westus/extra.yaml:1:1: error: this folder is for region \"westus\", which does not exist => did you mean regions/westus3/?",
        ),
        (
            with("values/fleet.yaml", "- a\n"),
            "values/fleet.yaml:1:1: error: values must be a mapping, found a list => write `name: value` lines",
        ),
        (
            with("values/fleet.yaml", "a: 1\n---\nb: 1\n"),
            "values/fleet.yaml:3:1: error: there is more than one document in this values file => values are one mapping; remove the line `---`",
        ),
        (
            with("values/fleet.yaml", "host: {{name}}\n"),
            "values/fleet.yaml:1:8: error: a list or mapping cannot be a key here => a template expression in a YAML file needs quotes: \"{{…}}\"",
        ),
        (
            bytes(b"values/fleet.yaml", b"\xef\xbb\xbfa: 1\n"),
            "values/fleet.yaml:1:1: error: the file starts with a byte order mark (UTF-8) => save the file as UTF-8 without a byte order mark",
        ),
        (
            bytes(b"values/fleet.yaml", b"a: 1\nb: \xff\n"),
            "values/fleet.yaml:2:4: error: the file is not UTF-8: byte 0xff here is no text => save the file as UTF-8 text",
        ),
        (
            bytes(b"values/fleet.yaml", b"a: \0\n"),
            "values/fleet.yaml:1:4: error: the file contains a NUL character; it is probably not a text file => save the file as UTF-8 text",
        ),
        (bytes(b"values/fleet.yaml", b"a: 1\r\nb: 2\r\n"), ""),
        (bytes(b"values/fleet.yaml", b""), ""),
        (
            entry("values/fleet.yaml", EntryKind::Symlink),
            "values/fleet.yaml:1:1: error: this is a symbolic link, and links are not followed => commit the file itself",
        ),
        (
            entry("templates/x.yaml", EntryKind::Symlink),
            "templates/x.yaml:1:1: error: this is a symbolic link, and links are not followed => commit the file itself",
        ),
        (
            entry("templates", EntryKind::Symlink),
            "templates:1:1: error: this is a symbolic link, and links are not followed => commit the file itself",
        ),
        (
            entry("regions/eastus2", EntryKind::Submodule),
            "regions/eastus2:1:1: error: this is a submodule, and submodules are not read => commit the files themselves",
        ),
        (
            {
                let mut tree = mistake("tidegate.yaml", "values/fleet", "shared/fleet");
                tree.insert("shared", EntryKind::Symlink, "values");
                tree
            },
            "shared:1:1: error: this is a symbolic link, and links are not followed => commit the file itself",
        ),
        (
            entry("templates/_x", EntryKind::Submodule),
            "templates/_x:1:1: error: this is a submodule, and submodules are not read => commit the files themselves",
        ),
        (
            with(
                "templates/x.yaml",
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
            ),
            "templates/x.yaml:1:1: error: this is a Git LFS pointer, not the file itself => commit the file to git itself: take it out of .gitattributes and add it again",
        ),
        (
            bytes(b"templates/x.yaml", b"a: \xfe\n"),
            "templates/x.yaml:1:4: error: the file is not UTF-8: byte 0xfe here is no text => save the file as UTF-8 text",
        ),
        (
            bytes(b"templates/\xff.yaml", b"a: 1\n"),
            "templates/\\xff.yaml:1:1: error: the file's name is not UTF-8 => rename the file",
        ),
        (
            with("templates/../x.yaml", ""),
            "templates/../x.yaml:1:1: error: the path has a component that is empty, `.` or `..` => commit the file under a plain path",
        ),
        (
            with("templates/.GIT/config.yaml", ""),
            "templates/.GIT/config.yaml:1:1: error: the path has a component that some file systems take for `.git` => rename the file or folder",
        ),
        (
            with("templates/x.txt", ""),
            "templates/x.txt:1:1: error: this file is neither a manifest nor a template nor a partial => manifests end in .yaml, .yml or .json, templates in .hbs behind that, partials start with `_`; move anything else out of this folder",
        ),
        (
            with("templates/x.hbs", ""),
            "templates/x.hbs:1:1: error: this file is neither a manifest nor a template nor a partial => rename it to x.yaml.hbs, or to _x.hbs if it is a partial",
        ),
        (
            with("templates/x.YAML", ""),
            "templates/x.YAML:1:1: error: this file is neither a manifest nor a template nor a partial => rename it to x.yaml: endings are lower-case",
        ),
        (
            with("templates/app/deployment.yaml", ""),
            "templates/app/deployment.yaml.hbs:1:1: error: templates/app/deployment.yaml has the same output path \"app/deployment.yaml\" => rename or remove one of the two",
        ),
        (
            with("templates/extra.json", ""),
            "regions/westus3/extra.json:1:1: error: templates/extra.json has the same output path \"extra.json\" (region westus3) => rename or remove one of the two",
        ),
        (
            with("templates/App/service.yaml", ""),
            "templates/app/deployment.yaml.hbs:1:1: error: the output path \"app/deployment.yaml\" differs from that of templates/App/service.yaml only in case or in how accents are encoded => rename one of the two: some file systems take them for one",
        ),
        (
            with("templates/\u{e9}.yaml", "").with("templates/e\u{301}.yaml", ""),
            "templates/\u{e9}.yaml:1:1: error: the output path \"\u{e9}.yaml\" differs from that of templates/e\u{301}.yaml only in case or in how accents are encoded => rename one of the two: some file systems take them for one",
        ),
        (
            with("templates/app.yaml/x.yaml", "").with("templates/app.yaml.hbs", ""),
            "templates/app.yaml/x.yaml:1:1: error: the output path \"app.yaml/x.yaml\" needs a folder where templates/app.yaml.hbs has a file, or the reverse => rename one of the two",
        ),
        (
            with("regions/westus3/_labels", ""),
            "regions/westus3/_labels:1:1: error: templates/_labels.hbs has the same partial \"_labels\" (region westus3) => rename or remove one of the two",
        ),
    ] {
        expect(&tree, wanted, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}
