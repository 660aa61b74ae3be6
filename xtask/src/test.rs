//! `cargo xtask test`: every suite, phase by phase with times, and one line that counts.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{cargo, line_of, run as sh, step};
use crate::{behaviours, build, cluster, setup};

/// Run the tests: units, then the suites of `tests/it`, cheapest first.
///
/// The last line counts: `N passed, N failed, N skipped`. Before it, a run of everything lists the
/// behaviours of docs/behaviours.md that no test cites. Suites that need root are skipped
/// without it, each test with its reason; REQUIRE_PRIVILEGED=1 makes a skip a failure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these phases: unit, or a suite's name.
    #[arg(long, value_delimiter = ',')]
    phase: Vec<String>,
    /// Run nothing, and list the behaviours that no test cites.
    #[arg(long, conflicts_with_all = ["phase", "filters"])]
    uncited: bool,
    /// Run only the tests whose names contain one of these.
    filters: Vec<String>,
}

const UNIT: &str = "unit";
/// The suite that runs against the real control plane.
const CLUSTER: &str = "cluster";
/// The suites in the order they run; one that is not named here runs after them.
const SUITES: [&str; 9] = [
    "tidy",
    "compile",
    "simulate",
    "abi",
    "verifier",
    "packets",
    "differential",
    "lab",
    CLUSTER,
];
const SUITE_BINARY: [&str; 4] = ["--package", "tests", "--test", "it"];

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    if args.uncited {
        behaviours::print_uncited()?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure()?;
    step("build", || {
        for cpu in ["generic", "v3"] {
            build::programs(cpu, &[])?;
        }
        sh(cargo("build").args(["--locked", "--bins"]))?;
        sh(cargo("test").args(["--locked", "--lib", "--bins", "--test", "it", "--no-run"]))
    })?;
    let suites = suites(&args.filters)?;
    for phase in &args.phase {
        let known = phase == UNIT || suites.iter().any(|(name, _)| name == phase);
        ensure!(known, "no phase `{phase}` has such tests");
    }
    let wanted = |name: &str| args.phase.is_empty() || args.phase.iter().any(|one| one == name);
    let uses_cluster = suites.iter().any(|(name, _)| name == CLUSTER);
    if uses_cluster && wanted(CLUSTER) {
        // Before the suite, in which some minutes of compiling would look like a test that hangs.
        // The suite itself says why it cannot run, and is counted.
        if let Err(error) = cluster::obtain() {
            eprintln!("{error:#}");
        }
    }
    let mut total = Counts::default();
    if wanted(UNIT) {
        let mut command = cargo("test");
        command
            .args(["--locked", "--no-fail-fast", "--lib", "--bins", "--"])
            .args(&args.filters);
        total = total.and(phase(UNIT, &mut command)?);
    }
    for (name, tests) in suites.iter().filter(|(name, _)| wanted(name)) {
        let mut command = cargo("test");
        command
            .args(["--locked", "--quiet"])
            .args(SUITE_BINARY)
            .args(["--", "--exact"])
            .args(tests);
        total = total.and(phase(name, &mut command)?);
    }
    if args.phase.is_empty()
        && args.filters.is_empty()
        && let Err(error) = behaviours::print_uncited()
    {
        eprintln!("{error:#}");
    }
    if total.failed > 0 {
        eprintln!("error: tests failed");
    }
    println!("{total}");
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The suites that have tests of a wanted name, in order, with the full names of those tests.
fn suites(filters: &[String]) -> Result<Vec<(String, Vec<String>)>> {
    let mut command = cargo("test");
    command.args(["--locked", "--quiet"]).args(SUITE_BINARY);
    command.args(["--", "--list", "--format", "terse"]);
    let output = command
        .output()
        .with_context(|| format!("start `{}`", line_of(&command)))?;
    if !output.status.success() {
        bail!(
            "list the suites' tests: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let listing = String::from_utf8(output.stdout).context("read the list of tests")?;
    let mut suites: Vec<(String, Vec<String>)> = Vec::new();
    for name in listing
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
    {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) {
            continue;
        }
        let suite = name.split("::").next().unwrap_or(name);
        match suites.iter_mut().find(|(known, _)| known == suite) {
            Some((_, tests)) => tests.push(name.to_owned()),
            None => suites.push((suite.to_owned(), vec![name.to_owned()])),
        }
    }
    let rank = |name: &str| {
        SUITES
            .iter()
            .position(|one| *one == name)
            .unwrap_or(SUITES.len())
    };
    suites.sort_by_key(|(name, _)| rank(name));
    Ok(suites)
}

/// Runs one phase, shows what it prints, and counts.
fn phase(name: &str, command: &mut Command) -> Result<Counts> {
    println!("== {name}");
    let started = Instant::now();
    let line = line_of(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("SWITCHBOARD_EBPF_OBJECTS", build::objects())
        .spawn()
        .with_context(|| format!("start `{line}`"))?;
    let stdout = child.stdout.take().context("take a piped output")?;
    let stderr = child.stderr.take().context("take a piped output")?;
    let skipped = AtomicU32::new(0);
    let mut counts = Counts::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(stderr, &mut io::stderr(), |line| {
                if line.starts_with("skipped: ") {
                    skipped.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        copy(stdout, &mut io::stdout(), |line| {
            counts = counts.and(counts_of(line))
        });
    });
    let status = child.wait().with_context(|| format!("wait for `{line}`"))?;
    counts.skipped += skipped.load(Ordering::Relaxed);
    // libtest knows no test that skips itself: it counts it as passed.
    counts.passed = counts
        .passed
        .saturating_sub(skipped.load(Ordering::Relaxed));
    if !status.success() && counts.failed == 0 {
        eprintln!("`{line}` ended before it counted its tests: {status}");
        counts.failed = 1;
    }
    println!(
        "-- {name}: {counts} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(counts)
}

fn copy(from: impl Read, to: &mut impl Write, mut see: impl FnMut(&str)) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        see(&line);
        // A closed terminal is no reason to lose count.
        let _ = writeln!(to, "{line}");
    }
}

/// What a line of libtest counts: `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
fn counts_of(line: &str) -> Counts {
    let Some(result) = line.strip_prefix("test result: ") else {
        return Counts::default();
    };
    let count = |word: &str| {
        let fields = result.split([';', '.']).map(str::trim);
        fields
            .filter_map(|field| field.strip_suffix(word))
            .find_map(|n| n.trim().parse().ok())
    };
    Counts {
        passed: count("passed").unwrap_or(0),
        failed: count("failed").unwrap_or(0),
        skipped: count("ignored").unwrap_or(0),
    }
}

// === impl Counts ===

impl Counts {
    const fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_of_libtest_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered \
                    out; finished in 0.52s";
        assert_eq!(
            counts_of(line).to_string(),
            "12 passed, 3 failed, 1 skipped"
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in ["running 5 tests", "test a::b ... ok", "5 passed; 1 failed"] {
            assert_eq!(
                counts_of(line).to_string(),
                "0 passed, 0 failed, 0 skipped",
                "{line}"
            );
        }
    }
}
