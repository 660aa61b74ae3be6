//! `switchboard trace`. Other tools call it: arguments, exit status and JSON are a contract.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    Ending, Location, Streams, client,
    output::{Output, or_none},
    pinned::{self, Pinned},
};
use crate::{
    compile::{Compiler, Settings},
    config::{ConfigFile, Proxy, canonical_node_name},
    model::{Cluster, Diagnostic},
    observe::{
        QuestionWords, World,
        trace::{Answer, Destination, Place, Question, Source, answer},
    },
    tables::Tables,
    watch::directory,
};

/// Say what becomes of a packet on this node, or on a node that a directory of objects describes
///
/// With --manifests it needs neither root nor an agent: the objects are read, compiled for the
/// node, and the decision is run that the kernel runs. Without, the running node is asked, and
/// nothing on it is changed. The exit status is 0 for every outcome, also for a packet that is
/// dropped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  switchboard trace --from 10.1.0.5 --to 10.96.0.10:80/tcp
  switchboard trace --manifests ./objects --node node-1 --from fd00:10:1::5 \\
      --to [fd00:96::a]:53/udp -o json")]
pub(super) struct Args {
    /// Where the packet comes from
    #[arg(long, value_name = "IP[:PORT]")]
    from: Source,
    /// Where it goes to; PROTO is tcp, udp or sctp, and IP/icmp asks about ICMP
    #[arg(long, value_name = "IP:PORT/PROTO")]
    to: Destination,
    /// Where it meets the node: pod, host or wire; by default as the source's address says
    #[arg(long, value_name = "PLACE")]
    at: Option<Place>,
    /// Directory of Kubernetes objects to answer from
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// The node to answer for, with --manifests
    #[arg(long, value_name = "NAME", requires = "manifests")]
    node: Option<String>,
    /// The agent's configuration file, or kube-proxy's: it settles where node ports are served, who
    /// counts as a pod, and may name the node
    #[arg(long, value_name = "FILE", requires = "manifests")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let question = Question {
        from: args.from,
        to: args.to,
        at: args.at,
    };
    let answer = match &args.manifests {
        Some(dir) => offline(args, dir, &question, streams)?,
        None => live(&args.location, &question, streams)?,
    };
    args.output
        .write(streams.out, &answer, |out| write_answer(&answer, out))?;
    Ok(Ending::Done)
}

/// From a directory of objects.
fn offline(
    args: &Args,
    dir: &Path,
    question: &Question,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Answer> {
    let config = match &args.config {
        Some(path) => ConfigFile::read(path)?,
        None => ConfigFile::default(),
    };
    for note in &config.notes {
        writeln!(streams.err, "{note}")?;
    }
    let node = node_name(args, &config)?;
    let proxy = Proxy::new(&config.settings.proxy)?;
    let events = directory::load(dir, &node)
        .with_context(|| format!("read the objects in {}", dir.display()))?;
    let mut cluster = Cluster::new(node);
    for event in events {
        cluster.handle(event);
    }
    let mut compiler = Compiler::new(Settings::new(&proxy));
    let dirty = cluster.take_dirty();
    compiler.compile(&cluster, &dirty, 0);
    for Diagnostic { object, reason } in cluster.diagnostics().chain(compiler.diagnostics()) {
        writeln!(streams.err, "{object}: {reason}")?;
    }
    let world = World::new(compiler.desired(), &compiler, &cluster);
    Ok(answer(question, &world)?)
}

fn node_name(args: &Args, config: &ConfigFile) -> anyhow::Result<String> {
    let name = args.node.as_ref().or(config.settings.node_name.as_ref());
    match name.map(|name| canonical_node_name(name)) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => bail!("which node? say --node NAME"),
    }
}

/// From the running node: its agent, or without one the maps.
fn live(
    location: &Location,
    question: &Question,
    streams: &mut Streams<'_>,
) -> anyhow::Result<Answer> {
    let words = QuestionWords::from(question);
    if let Some(answer) = client::ask(&location.run_dir, &format!("/trace?{words}"))? {
        return Ok(answer);
    }
    let Pinned { kernel, names } = pinned::open(location, streams)?;
    let maps = kernel.dump().context("read the service tables")?;
    Ok(answer(question, &World::pinned(&maps, names))?)
}

fn write_answer(answer: &Answer, out: &mut dyn Write) -> anyhow::Result<()> {
    for (number, step) in answer.steps.iter().enumerate() {
        writeln!(out, "{}. {step}", number + 1)?;
    }
    writeln!(out)?;
    writeln!(out, "Outcome:   {}", answer.outcome.name())?;
    if let Some(frontend) = &answer.frontend {
        writeln!(out, "Frontend:  {frontend}")?;
    }
    if let Some(source) = answer.source {
        writeln!(out, "Source:    {}", source.name())?;
    }
    if let Some(reason) = &answer.reason {
        writeln!(out, "Reason:    {}", or_none(Some(reason)))?;
    }
    for backend in &answer.backends {
        writeln!(out, "Backend:   {backend}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
