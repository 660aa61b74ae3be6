//! Service ports in columns and in blocks.

use std::{fmt::Write as _, io::Write};

use crate::{
    cli::output::{or_none, write_columns},
    observe::service::{FrontendView, ServicePortView},
};

/// One line for each frontend.
pub(super) fn write_list(
    views: &[ServicePortView],
    wide: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let rows = views
        .iter()
        .flat_map(|view| view.frontends.iter().map(move |frontend| (view, frontend)));
    if wide {
        let rows = rows.map(|(view, frontend)| {
            let [namespace, name, port, protocol, kind, address, count] = row(view, frontend);
            [
                namespace,
                name,
                port,
                protocol,
                kind,
                address,
                count,
                view.id.to_string(),
                or_none(view.service_type.as_deref()),
                or_none(Some(&addresses(frontend))),
            ]
        });
        let header = [
            "NAMESPACE",
            "NAME",
            "PORT",
            "PROTOCOL",
            "KIND",
            "FRONTEND",
            "BACKENDS",
            "ID",
            "TYPE",
            "ADDRESSES",
        ];
        return write_columns(out, header, rows);
    }
    let header = [
        "NAMESPACE",
        "NAME",
        "PORT",
        "PROTOCOL",
        "KIND",
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
    [
        or_none(view.namespace.as_deref()),
        view.name
            .clone()
            .unwrap_or_else(|| format!("<id {}>", view.id)),
        or_none(view.port.as_deref()),
        view.protocol.clone(),
        frontend.kind.clone(),
        address(frontend),
        count(frontend),
    ]
}

/// A node port is on many addresses.
fn address(frontend: &FrontendView) -> String {
    let address = frontend.address;
    match (address.ip().is_unspecified(), address.is_ipv4()) {
        (false, _) => address.to_string(),
        (true, true) => format!("*:{}", address.port()),
        (true, false) => format!("[*]:{}", address.port()),
    }
}

/// How many backends there are to choose from: `2`, `0 (reject)`, `2 (wire 1)`, `2 (wire drop)`.
fn count(frontend: &FrontendView) -> String {
    if let Some(how) = &frontend.refuses {
        return format!("0 ({how})");
    }
    let active = frontend.active();
    match &frontend.wire {
        None => active.to_string(),
        Some(wire) => match &wire.refuses {
            Some(how) => format!("{active} (wire {how})"),
            None => format!("{active} (wire {})", wire.backends.len()),
        },
    }
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

pub(super) fn write_details(views: &[ServicePortView], out: &mut dyn Write) -> anyhow::Result<()> {
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_port(view, out)?;
        for frontend in &view.frontends {
            write_frontend(frontend, out)?;
        }
    }
    Ok(())
}

fn write_port(view: &ServicePortView, out: &mut dyn Write) -> anyhow::Result<()> {
    let port = or_none(view.port.as_deref());
    writeln!(out, "Namespace:  {}", or_none(view.namespace.as_deref()))?;
    writeln!(out, "Name:       {}", or_none(view.name.as_deref()))?;
    writeln!(out, "Type:       {}", or_none(view.service_type.as_deref()))?;
    writeln!(out, "Port:       {port} {}", view.protocol)?;
    writeln!(out, "Id:         {}", view.id)?;
    let policies = [&view.internal_traffic_policy, &view.external_traffic_policy];
    if let [Some(internal), Some(external)] = policies {
        writeln!(out, "Policies:   internal {internal}, external {external}")?;
    }
    if let Some(seconds) = view.affinity_s {
        writeln!(out, "Affinity:   {seconds}s")?;
    }
    if !view.source_ranges.is_empty() {
        let ranges = view.source_ranges.iter().map(ToString::to_string);
        writeln!(out, "Sources:    {}", ranges.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

fn write_frontend(frontend: &FrontendView, out: &mut dyn Write) -> anyhow::Result<()> {
    write!(out, "Frontend:   {} {}", address(frontend), frontend.kind)?;
    match &frontend.refuses {
        Some(how) => writeln!(out, " ({how})")?,
        None => writeln!(out)?,
    }
    for backend in &frontend.backends {
        let node = or_none(backend.node.as_deref());
        writeln!(out, "  {} {} on {node}", backend.address, backend.state)?;
    }
    let Some(wire) = &frontend.wire else {
        return Ok(());
    };
    let only = match &wire.refuses {
        Some(how) => how.clone(),
        None => {
            let addresses = wire.backends.iter().map(ToString::to_string);
            addresses.collect::<Vec<_>>().join(", ")
        }
    };
    Ok(writeln!(out, "  from the wire: {only}")?)
}
