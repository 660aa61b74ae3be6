//! `switchboard service list` and `service get`.

use std::{fmt::Write as _, io::Write};

use anyhow::{Context, bail};

use super::{
    Ending, Location, Streams, client,
    output::{Output, or_none, write_columns},
    pinned::{self, Pinned},
};
use crate::{
    observe::{
        World,
        service::{FrontendView, ServicePortView, views},
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

/// One line for each frontend.
fn write_list(views: &[ServicePortView], wide: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = views
        .iter()
        .flat_map(|view| view.frontends.iter().map(move |frontend| (view, frontend)));
    if wide {
        let rows = rows.map(|(view, frontend)| {
            let [namespace, name, port, protocol, kind, address, count] = row(view, frontend);
            let backends = or_none(Some(&addresses(frontend)));
            [
                namespace,
                name,
                port,
                protocol,
                kind,
                address,
                count,
                view.id.to_string(),
                backends,
            ]
        });
        let header = [
            "NAMESPACE",
            "NAME",
            "PORT",
            "PROTOCOL",
            "TYPE",
            "FRONTEND",
            "BACKENDS",
            "ID",
            "ADDRESSES",
        ];
        return write_columns(out, header, rows);
    }
    let header = [
        "NAMESPACE",
        "NAME",
        "PORT",
        "PROTOCOL",
        "TYPE",
        "FRONTEND",
        "BACKENDS",
    ];
    write_columns(
        out,
        header,
        rows.map(|(view, frontend)| row(view, frontend)),
    )
}

fn row(view: &ServicePortView, frontend: &FrontendView) -> [String; 7] {
    let backends = match &frontend.refuses {
        Some(how) => format!("0 ({how})"),
        None => frontend.active().to_string(),
    };
    [
        or_none(view.namespace.as_deref()),
        view.name
            .clone()
            .unwrap_or_else(|| format!("<id {}>", view.id)),
        or_none(view.port.as_deref()),
        view.protocol.clone(),
        or_none(view.service_type.as_deref()),
        frontend.address.to_string(),
        backends,
    ]
}

fn addresses(frontend: &FrontendView) -> String {
    let mut text = String::new();
    for backend in &frontend.backends {
        let comma = if text.is_empty() { "" } else { "," };
        let note = if backend.state == "active" {
            ""
        } else {
            " (terminating)"
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{}{note}", backend.address);
    }
    text
}

fn write_details(views: &[ServicePortView], out: &mut dyn Write) -> anyhow::Result<()> {
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "Namespace:  {}", or_none(view.namespace.as_deref()))?;
        writeln!(out, "Name:       {}", or_none(view.name.as_deref()))?;
        writeln!(out, "Type:       {}", or_none(view.service_type.as_deref()))?;
        writeln!(
            out,
            "Port:       {} {}",
            or_none(view.port.as_deref()),
            view.protocol
        )?;
        writeln!(out, "Id:         {}", view.id)?;
        for frontend in &view.frontends {
            write!(out, "Frontend:   {}", frontend.address)?;
            match &frontend.refuses {
                Some(how) => writeln!(out, " ({how})")?,
                None => writeln!(out)?,
            }
            for backend in &frontend.backends {
                let node = or_none(backend.node.as_deref());
                writeln!(out, "  {} {} on {node}", backend.address, backend.state)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{
        cli::testing::FakeAgent,
        observe::{Names, Query, testing},
    };

    /// Two of the tables' three services have names.
    fn agent() -> FakeAgent {
        FakeAgent::start(|query| {
            if let Query::Services(reply) = query {
                let maps = testing::maps();
                let mut views = views(&World::pinned(&maps, Names::new()));
                views.retain(|view| view.id != 3);
                for view in &mut views {
                    let namespace = if view.id == 1 {
                        "default"
                    } else {
                        "kube-system"
                    };
                    view.namespace = Some(namespace.to_owned());
                    view.name = Some(format!("echo-{}", view.id));
                    view.port = Some(if view.id == 1 { "http" } else { "" }.to_owned());
                    view.service_type = Some("ClusterIP".to_owned());
                    view.frontends[0].backends.iter_mut().for_each(|backend| {
                        backend.node = Some("node-1".to_owned());
                    });
                }
                reply.send(views).unwrap();
            }
        })
    }

    #[test]
    fn the_list_is_of_one_namespace() {
        expect![[r#"
            NAMESPACE   NAME     PORT   PROTOCOL   TYPE        FRONTEND          BACKENDS
            default     echo-1   http   tcp        ClusterIP   10.96.0.10:80     2
            default     echo-1   http   tcp        ClusterIP   [fd00:96::a]:80   1
        "#]]
        .assert_eq(&agent().run(&["service", "list"]).out);
    }

    #[test]
    fn the_wide_list_of_all_namespaces_names_every_backend() {
        let out = agent().run(&["service", "list", "-A", "-o", "wide"]).out;
        let last = out.lines().map(|line| line.rsplit("   ").next().unwrap());
        expect![[r#"
            ADDRESSES
            10.1.0.9:8080,10.1.1.7:8080 (terminating),10.1.1.9:8080
            [fd00:10:1::9]:8080
            <none>
        "#]]
        .assert_eq(&last.map(|cell| format!("{cell}\n")).collect::<String>());
    }

    #[test]
    fn an_empty_namespace_is_said_on_standard_error() {
        let ran = agent().run(&["service", "list", "-n", "nowhere", "-o", "json"]);
        assert_eq!(ran.out, "[]\n");
        expect![[r#"
            switchboard: no Service ports in namespace nowhere; -A shows them all
        "#]]
        .assert_eq(&ran.err);
    }

    #[test]
    fn one_service_is_shown_with_its_backends_and_their_nodes() {
        expect![[r#"
            Namespace:  default
            Name:       echo-1
            Type:       ClusterIP
            Port:       http tcp
            Id:         1
            Frontend:   10.96.0.10:80
              10.1.0.9:8080 active on node-1
              10.1.1.7:8080 terminating on node-1
              10.1.1.9:8080 active on node-1
            Frontend:   [fd00:96::a]:80
              [fd00:10:1::9]:8080 active on <none>
        "#]]
        .assert_eq(&agent().run(&["service", "get", "echo-1"]).out);
    }

    #[test]
    fn a_service_may_be_named_with_its_namespace() {
        let agent = agent();
        let long = agent
            .run(&["service", "get", "kube-system/echo-2", "-o", "json"])
            .out;
        let short = agent
            .run(&[
                "service",
                "get",
                "-n",
                "kube-system",
                "echo-2",
                "-o",
                "json",
            ])
            .out;
        assert_eq!(long, short);
        expect![[r#"
            [
              {
                "namespace": "kube-system",
                "name": "echo-2",
                "port": "",
                "protocol": "tcp",
                "type": "ClusterIP",
                "id": 2,
                "frontends": [
                  {
                    "address": "10.96.0.9:80",
                    "refuses": "reject",
                    "backends": []
                  }
                ]
              }
            ]
        "#]]
        .assert_eq(&long);
    }

    #[test]
    fn a_service_that_is_not_served_is_an_error() {
        let error = agent()
            .run(&["service", "get", "echo-9"])
            .ending
            .unwrap_err();
        expect!["Service default/echo-9 is not served here; `switchboard status` says if something is wrong with it"].assert_eq(&error.to_string());
    }
}
