//! Rows as lines: the table's name and the key first, then what the entry says.

use std::fmt::{Display, Formatter, Result};

use super::{
    AffinityRow, BackendRow, CounterRow, FlowRow, FragmentRow, FrontendRow, NodeRow, Row, SetRow,
    SocketRow, UplinkRow,
};

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Frontend(row) => row.fmt(f),
            Self::Source {
                service,
                range,
                name,
            } => {
                write!(f, "source service={service} {range}")?;
                write_name(f, name.as_deref())
            }
            Self::Address { address, flags } => {
                write!(f, "address {address} {}", flags.join(","))
            }
            Self::Range {
                index,
                purpose,
                range,
            } => write!(f, "range {index} {purpose} {range}"),
            Self::Node(row) => row.fmt(f),
            Self::Uplink(row) => row.fmt(f),
            Self::Slot { index, backend } => write!(f, "slot {index} backend={backend}"),
            Self::Backend(row) => row.fmt(f),
            Self::Affinity(row) => row.fmt(f),
            Self::Flow(row) => row.fmt(f),
            Self::Fragment(row) => row.fmt(f),
            Self::Socket(row) => row.fmt(f),
            Self::Counter(row) => row.fmt(f),
        }
    }
}

impl Display for FrontendRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            address,
            protocol,
            service,
            kind,
            set,
            ..
        } = self;
        write!(f, "frontend {address}/{protocol} service={service}")?;
        if *kind != "ClusterIP" {
            write!(f, " kind={kind}")?;
        }
        match set {
            SetRow {
                refuses: Some(how), ..
            } => write!(f, " {how}")?,
            SetRow { backends, .. } => write!(f, " backends={}", ranges(backends))?,
        }
        match &self.wire {
            Some(SetRow {
                refuses: Some(how), ..
            }) => write!(f, " wire={how}")?,
            Some(SetRow { backends, .. }) => write!(f, " wire={}", ranges(backends))?,
            None => {}
        }
        if let Some(seconds) = self.affinity_s {
            write!(f, " affinity={seconds}s")?;
        }
        for flag in &self.flags {
            write!(f, " {flag}")?;
        }
        write_name(f, self.name.as_deref())
    }
}

impl Display for BackendRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            id,
            address,
            protocol,
            state,
            service,
            ..
        } = self;
        write!(
            f,
            "backend {id} {address}/{protocol} {state} service={service}"
        )?;
        if self.here {
            f.write_str(" here")?;
        }
        write_name(f, self.name.as_deref())
    }
}

impl Display for NodeRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "node ipv{} ", self.family)?;
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("none")?,
        }
        for (index, (first, last)) in self.snat_ports.iter().enumerate() {
            let before = if index == 0 { " ports=" } else { "," };
            write!(f, "{before}{first}-{last}")?;
        }
        Ok(())
    }
}

impl Display for UplinkRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "uplink {} ipv{} ", self.ifindex, self.family)?;
        match self.address {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("none"),
        }
    }
}

impl Display for AffinityRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            client,
            service,
            backend,
            idle_s,
            name,
        } = self;
        write!(
            f,
            "affinity {client} service={service} backend={backend} idle={idle_s}s"
        )?;
        write_name(f, name.as_deref())
    }
}

impl Display for FlowRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "flow {} > {} {} => ",
            self.source, self.destination, self.protocol
        )?;
        write!(
            f,
            "{} > {} {} ",
            self.new_source,
            self.new_destination,
            self.flags.join(",")
        )?;
        write!(f, "backend={} idle={}s", self.backend, self.idle_s)
    }
}

impl Display for FragmentRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "fragment {} > {} {} ",
            self.source, self.destination, self.protocol
        )?;
        write!(
            f,
            "id={} ports={}>{} ",
            self.id, self.source_port, self.destination_port
        )?;
        write!(f, "covered={}", self.covered)
    }
}

impl Display for SocketRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let peer_is = if self.to_backend {
            "backend"
        } else {
            "frontend"
        };
        let Self {
            cookie,
            address,
            protocol,
            peer,
            backend,
            ..
        } = self;
        write!(
            f,
            "socket {cookie} {address}/{protocol} {peer_is} {peer} backend={backend}"
        )
    }
}

impl Display for CounterRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "counter {} {} {}",
            self.direction, self.verdict, self.packets
        )
    }
}

fn write_name(f: &mut Formatter<'_>, name: Option<&str>) -> Result {
    name.map_or(Ok(()), |name| write!(f, " name={name}"))
}

/// Ascending numbers as people write them: `1-3,7`.
fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for run in numbers.chunk_by(|before, after| before.checked_add(1) == Some(*after)) {
        match run {
            [only] => parts.push(only.to_string()),
            [first, .., last] => parts.push(format!("{first}-{last}")),
            [] => {}
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbouring_ids_are_written_as_ranges() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[4]), "4");
        assert_eq!(
            ranges(&[1, 2, 3, 7, 9, 10, u32::MAX]),
            "1-3,7,9-10,4294967295"
        );
    }
}
