//! Rows as lines: the table's name and the key first, then what the entry says.

use std::fmt::{Display, Formatter, Result};

use super::{BackendRow, CounterRow, FlowRow, FragmentRow, FrontendRow, Row, SocketRow};

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Frontend(row) => row.fmt(f),
            Self::Vip { address } => write!(f, "vip {address}"),
            Self::Slot { index, backend } => write!(f, "slot {index} backend={backend}"),
            Self::Backend(row) => row.fmt(f),
            Self::Flow(row) => row.fmt(f),
            Self::Fragment(row) => row.fmt(f),
            Self::Socket(row) => row.fmt(f),
            Self::Counter(row) => row.fmt(f),
        }
    }
}

impl Display for FrontendRow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "frontend {}/{} service={} ",
            self.address, self.protocol, self.service
        )?;
        match self.refuses {
            Some(how) => f.write_str(how)?,
            None => write!(f, "backends={}", ranges(&self.backends))?,
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
        write_name(f, self.name.as_deref())
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
