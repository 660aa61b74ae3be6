//! `switchboard service list` and `service get`.

mod text;

use anyhow::{Context, bail};

use self::text::{write_details, write_list};
use super::{
    Ending, Location, Streams, client,
    output::Output,
    pinned::{self, Pinned},
};
use crate::{
    observe::{
        World,
        service::{ServicePortView, views},
    },
    tables::Tables,
};

/// Show Services as this node serves them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    Get(GetArgs),
}

/// List service ports with their frontends and how many backends each chooses from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard service list -A -o wide")]
pub(super) struct ListArgs {
    /// Only Services of this namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Services of every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

/// Show the ports of one Service with every backend
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard service get -n kube-system kube-dns")]
pub(super) struct GetArgs {
    /// The Service, as NAME or NAMESPACE/NAME
    name: String,
    /// The Service's namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

pub(super) fn run(command: &Command, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    match command {
        Command::List(args) => list(args, streams),
        Command::Get(args) => get(args, streams),
    }
}

fn list(args: &ListArgs, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let (mut views, named) = fetch(&args.location, streams)?;
    if !args.all_namespaces && named {
        views.retain(|view| view.namespace.as_deref() == Some(&args.namespace));
    }
    if views.is_empty() && !args.all_namespaces {
        let line = format!(
            "no Service ports in namespace {}; -A shows them all",
            args.namespace
        );
        pinned::note(streams, line)?;
    }
    let wide = args.output.is_wide();
    args.output
        .write(streams.out, &views, |out| write_list(&views, wide, out))?;
    Ok(Ending::Done)
}

fn get(args: &GetArgs, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let (namespace, name) = args
        .name
        .split_once('/')
        .unwrap_or((&args.namespace, &args.name));
    let (mut views, named) = fetch(&args.location, streams)?;
    if !named {
        bail!("no agent has left a name for any Service here; `service list` shows their ids");
    }
    views.retain(|view| {
        view.namespace.as_deref() == Some(namespace) && view.name.as_deref() == Some(name)
    });
    if views.is_empty() {
        bail!(
            "Service {namespace}/{name} is not served here; `switchboard status` says if something \
             is wrong with it"
        );
    }
    args.output
        .write(streams.out, &views, |out| write_details(&views, out))?;
    Ok(Ending::Done)
}

/// From the agent, or from the pinned maps; and whether there are names to choose by.
fn fetch(
    location: &Location,
    streams: &mut Streams<'_>,
) -> anyhow::Result<(Vec<ServicePortView>, bool)> {
    if let Some(views) = client::ask(&location.run_dir, "/services")? {
        return Ok((views, true));
    }
    let Pinned { kernel, names } = pinned::open(location, streams)?;
    let maps = kernel.dump().context("read the service tables")?;
    let world = World::pinned(&maps, names);
    Ok((views(&world), world.has_names()))
}

#[cfg(test)]
mod tests;
