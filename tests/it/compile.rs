//! Every scenario as tables: its objects through the directory source, the model, the compiler and
//! the plan, and what the maps then hold against what the scenario says.
//!
//! `UPDATE_EXPECT=1` writes what they hold into the files, for review as a diff.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use switchboard::{
    compile::{Compiler, Settings},
    config::{ConfigFile, Proxy},
    model::{Cluster, Event, ObjectRef},
    observe::dump,
    plan::{self, MapState},
    watch::directory,
};
use tests::scenario::{Scenario, Step, files, objects::Objects};

/// More than what a set rests in quarantine before its numbers are used again.
const STEP_S: u64 = 10;

/// What an agent has between two steps.
struct World {
    cluster: Cluster,
    settings: Settings,
    compiler: Compiler,
    actual: MapState,
    known: BTreeSet<ObjectRef>,
    now_s: u64,
}

#[test]
fn scenarios_compile_to_the_tables_that_they_say() {
    let mut failures = Vec::new();
    let paths = files();
    assert!(!paths.is_empty(), "there are no scenarios");
    for path in paths {
        if let Err(error) = check(&path) {
            failures.push(format!("{}: {error:#}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn check(path: &Path) -> Result<()> {
    let scenario = Scenario::read(path)?;
    let mut world = World::new(&scenario)?;
    let mut changes = Vec::new();
    for step in &scenario.steps {
        let context = || format!("step {:?}", step.title);
        if step.restart {
            world.restart(step);
        }
        world.apply(step).with_context(context)?;
        let maps = dump::render(&world.actual);
        changes.extend(step.maps.iter().map(|expected| (expected, maps.clone())));
        let addresses = dump::render_addresses(&world.actual);
        let expected = step.addresses.iter();
        changes.extend(expected.map(|expected| (expected, addresses.clone())));
        let diagnostics = world.diagnostics();
        ensure!(
            step.diagnostics.is_some() || diagnostics.is_empty(),
            "step {:?}: no section speaks of these diagnostics:\n{diagnostics}",
            step.title
        );
        changes.extend(
            step.diagnostics
                .iter()
                .map(|expected| (expected, diagnostics.clone())),
        );
    }
    changes.retain(|(expected, found)| expected.text != *found);
    if env::var_os("UPDATE_EXPECT").is_some() {
        if !changes.is_empty() {
            fs::write(path, scenario.with_expectations(&changes))?;
        }
        return Ok(());
    }
    let differences: Vec<_> = changes
        .iter()
        .map(|(expected, found)| format!("expected:\n{}found:\n{found}", expected.text))
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// What the compiler is told by a scenario's configuration.
pub(crate) fn settings(scenario: &Scenario) -> Result<Settings> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let path = folder.path().join("config.yaml");
    fs::write(&path, &scenario.config).context("write the configuration")?;
    let file = ConfigFile::read(&path)?;
    Ok(Settings::new(&Proxy::new(&file.settings.proxy)?))
}

// === impl World ===

impl World {
    fn new(scenario: &Scenario) -> Result<Self> {
        let node = scenario
            .steps
            .first()
            .map_or("a", |step| step.objects.own_node());
        let settings = settings(scenario)?;
        Ok(Self {
            cluster: Cluster::new(node),
            compiler: Compiler::new(settings.clone()),
            settings,
            actual: MapState::default(),
            known: BTreeSet::new(),
            now_s: STEP_S,
        })
    }

    /// Brings the objects of the step in, and the maps after them.
    fn apply(&mut self, step: &Step) -> Result<()> {
        self.take_in(&step.objects)?;
        self.now_s += STEP_S;
        let dirty = self.cluster.take_dirty();
        let touched = self.compiler.compile(&self.cluster, &dirty, self.now_s);
        let ops = plan::plan(&self.actual, self.compiler.desired(), &touched);
        for op in &ops {
            self.actual.apply(op);
        }
        self.compiler.settle(&self.actual, self.now_s);
        ensure!(
            dump::render(&self.actual) == dump::render(self.compiler.desired()),
            "the plan does not lead to what is desired"
        );
        ensure!(
            !step.restart || ops.is_empty(),
            "a restart alone leads to writes: {ops:?}"
        );
        Ok(())
    }

    /// Begins anew with nothing but the maps.
    fn restart(&mut self, step: &Step) {
        self.cluster = Cluster::new(step.objects.own_node());
        self.compiler = Compiler::restore(&self.actual, self.settings.clone());
        self.known.clear();
    }

    fn take_in(&mut self, objects: &Objects) -> Result<()> {
        let folder = tempfile::tempdir().context("make a folder")?;
        for (name, text) in objects.to_files()? {
            fs::write(folder.path().join(&name), text).with_context(|| format!("write {name}"))?;
        }
        let events = directory::load(folder.path(), objects.own_node())?;
        let mut seen = BTreeSet::new();
        for event in events {
            seen.extend(reference(&event));
            self.cluster.handle(event);
        }
        for gone in self.known.difference(&seen) {
            self.cluster.handle(Event::Delete(gone.clone()));
        }
        self.known = seen;
        Ok(())
    }

    fn diagnostics(&self) -> String {
        let all = self
            .cluster
            .diagnostics()
            .chain(self.compiler.diagnostics());
        let mut lines = BTreeMap::new();
        for diagnostic in all {
            lines.insert(
                format!("{}: {}\n", diagnostic.object, diagnostic.reason),
                (),
            );
        }
        lines.into_keys().collect()
    }
}

/// The object that an event says something about.
fn reference(event: &Event) -> Option<ObjectRef> {
    match event {
        Event::Apply { object, .. } => Some(object.reference()),
        Event::Delete(object) | Event::Invalid { object, .. } => Some(object.clone()),
        Event::Synced(_) | Event::LocalAddrs(_) | Event::Uplinks(_) => None,
    }
}
