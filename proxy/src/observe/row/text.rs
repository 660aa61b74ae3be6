//! Rows as lines: the table's name and the key first, then what the entry says.

use std::fmt;

use super::Row;

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend {
                address,
                protocol,
                service,
                backends,
                refuses,
                name,
            } => {
                write!(f, "frontend {address}/{protocol} service={service} ")?;
                match refuses {
                    Some(how) => f.write_str(how)?,
                    None => write!(f, "backends={}", ranges(backends))?,
                }
                write_name(f, name.as_deref())
            }
            Self::Vip { address } => write!(f, "vip {address}"),
            Self::Slot { index, backend } => write!(f, "slot {index} backend={backend}"),
            Self::Backend {
                id,
                address,
                protocol,
                state,
                service,
                name,
            } => {
                write!(
                    f,
                    "backend {id} {address}/{protocol} {state} service={service}"
                )?;
                write_name(f, name.as_deref())
            }
            Self::Flow {
                source,
                destination,
                protocol,
                new_source,
                new_destination,
                flags,
                backend,
                idle_s,
            } => write!(
                f,
                "flow {source} > {destination} {protocol} => {new_source} > {new_destination} \
                 {} backend={backend} idle={idle_s}s",
                flags.join(",")
            ),
            Self::Fragment {
                source,
                destination,
                protocol,
                id,
                source_port,
                destination_port,
                covered,
            } => write!(
                f,
                "fragment {source} > {destination} {protocol} id={id} \
                 ports={source_port}>{destination_port} covered={covered}"
            ),
            Self::Socket {
                cookie,
                address,
                protocol,
                to_backend,
                peer,
                backend,
            } => {
                let peer_is = if *to_backend { "backend" } else { "frontend" };
                write!(
                    f,
                    "socket {cookie} {address}/{protocol} {peer_is} {peer} backend={backend}"
                )
            }
            Self::Counter {
                direction,
                verdict,
                packets,
            } => {
                write!(f, "counter {direction} {verdict} {packets}")
            }
        }
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, name: Option<&str>) -> fmt::Result {
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
