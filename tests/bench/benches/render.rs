//! The parts of a render, on a generated fleet of 100 regions × 20 manifests, on one thread.

#![allow(missing_docs, reason = "what criterion's macros make has none")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on fails by a panic"
)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tidegate_bench::generator::Shape;
use tidegate_renderer::cache::RenderCache;
use tidegate_renderer::config::{self, LoadedFleet};
use tidegate_renderer::manifest::{self, Format};
use tidegate_renderer::render::{Rendered, render};
use tidegate_renderer::source::MemoryTree;
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::worker::InProcessWorker;

const REGIONS: usize = 100;

fn tree(shape: &Shape) -> MemoryTree {
    shape
        .files()
        .into_iter()
        .fold(MemoryTree::new(), |tree, (path, text)| {
            tree.with(path, text)
        })
}

fn rendered(
    loaded: &LoadedFleet,
    source: &MemoryTree,
    store: &ObjectStore,
    cache: Option<&RenderCache>,
) -> Rendered {
    render(loaded, source, &InProcessWorker, store, cache).unwrap()
}

fn parts(criterion: &mut Criterion) {
    let shape = Shape::new(REGIONS, 4, 1);
    let source = tree(&shape);
    criterion.bench_function("load 100 regions", |bencher| {
        bencher.iter(|| config::load(&source, "").unwrap());
    });
    let loaded = config::load(&source, "").unwrap();
    criterion.bench_function("render 100 regions, cold", |bencher| {
        bencher.iter_batched(
            ObjectStore::in_memory,
            |store| rendered(&loaded, &source, &store, None),
            BatchSize::PerIteration,
        );
    });
    let (store, cache) = (ObjectStore::in_memory(), RenderCache::new());
    rendered(&loaded, &source, &store, Some(&cache));
    criterion.bench_function("render 100 regions, nothing changed", |bencher| {
        bencher.iter(|| rendered(&loaded, &source, &store, Some(&cache)));
    });
    let mut edition = 0;
    criterion.bench_function("render 100 regions, one region changed", |bencher| {
        bencher.iter_batched(
            || {
                edition += 1;
                let text = shape.region_document(7, edition);
                let changed = source.clone().with(Shape::region_file(7), text);
                (config::load(&changed, "").unwrap(), changed)
            },
            |(loaded, changed)| rendered(&loaded, &changed, &store, Some(&cache)),
            BatchSize::PerIteration,
        );
    });

    let (_, template) = source_of(&shape, "app-00");
    let text = template
        .replace("{{indent 4 (include \"_labels\")}}", "    region: r0001")
        .replace(
            "{{indent 8 (include \"_labels\")}}",
            "        region: r0001",
        )
        .replace("{{", "")
        .replace("}}", "");
    criterion.bench_function(
        "one manifest of 1 KB read, checked and written",
        |bencher| {
            bencher.iter(|| manifest::read(&text, Format::Yaml, true).unwrap());
        },
    );
}

/// The first template whose path holds a text.
fn source_of(shape: &Shape, part: &str) -> (String, String) {
    shape
        .files()
        .into_iter()
        .find(|(path, _)| path.contains(part))
        .unwrap()
}

/// A fleet's objects packed into a repo: what a cold render ends with.
fn packing(criterion: &mut Criterion) {
    let shape = Shape::new(REGIONS, 4, 1);
    let source = tree(&shape);
    let loaded = config::load(&source, "").unwrap();
    criterion.bench_function("pack the objects of 100 regions", |bencher| {
        bencher.iter_batched(
            || {
                let folder = tempfile::tempdir().unwrap();
                git2::Repository::init_bare(folder.path()).unwrap();
                let store = ObjectStore::open(folder.path()).unwrap();
                rendered(&loaded, &source, &store, None);
                (folder, store)
            },
            |(folder, store)| {
                store.flush().unwrap();
                folder
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, parts, packing);
criterion_main!(benches);
