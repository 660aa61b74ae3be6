//! What can go wrong between the agent and the kernel, in words for whoever reads the log.

use std::{io, path::PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "{} is on no bpf file system: run `mount -t bpf bpf {}`", dir.display(), mount.display()
    )]
    NotBpffs { dir: PathBuf, mount: PathBuf },

    #[error(
        "{} belongs to uid {owner} or others may write to it: pins there cannot be trusted; \
         remove it or choose another --pin-dir", dir.display()
    )]
    Untrusted { dir: PathBuf, owner: u32 },

    #[error("another agent{} runs on this node with {}", holder(*pid), dir.display())]
    Locked { dir: PathBuf, pid: Option<u32> },

    #[error(
        "map {map} pinned at {} has {found}, this version wants {wanted}: remove the old one with \
         `switchboard cleanup`, which interrupts Services until the agent runs again",
        path.display()
    )]
    Layout {
        map: String,
        path: PathBuf,
        found: String,
        wanted: String,
    },

    #[error("cannot {operation} {}", path.display())]
    Path {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("cannot {operation} map {map}")]
    Map {
        map: &'static str,
        operation: &'static str,
        source: io::Error,
    },

    #[error("cannot read the object of the programs")]
    Object(#[from] Box<aya_obj::ParseError>),

    #[error("cannot load the object of the programs")]
    Load(#[from] Box<aya::EbpfError>),

    #[error("the object holds no program {program} of the kind that its hook takes")]
    NoProgram { program: &'static str },

    #[error("the kernel refuses program {program}{}", verifier_says(log))]
    Refused {
        program: &'static str,
        log: String,
        source: io::Error,
    },

    #[error("cannot load program {program}")]
    Program {
        program: &'static str,
        source: Box<aya::programs::ProgramError>,
    },

    #[error("not written, because {reason}")]
    Withheld { reason: &'static str },
}

impl Error {
    pub(crate) fn path(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Path {
            operation,
            path,
            source,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// The end of a verifier's log, which holds its objection.
fn verifier_says(log: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    format!("; its verifier's last words:\n{}", tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_program_comes_with_the_end_of_the_verifiers_log() {
        let log: String = (0..40)
            .map(|line| format!("{line}: (b7) r0 = {line}\n\n"))
            .collect();
        let error = Error::Refused {
            program: "from_pod",
            log: format!("{log}R1 invalid mem access 'scalar'\n"),
            source: io::Error::from_raw_os_error(libc::EACCES),
        };
        let text = error.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines.first(),
            Some(&"the kernel refuses program from_pod; its verifier's last words:")
        );
        assert_eq!(lines.last(), Some(&"R1 invalid mem access 'scalar'"));
        assert_eq!(lines.len(), 16, "{text}");
    }

    #[test]
    fn a_refusal_without_a_log_is_one_line() {
        let error = Error::Refused {
            program: "to_pod",
            log: String::new(),
            source: io::Error::from_raw_os_error(libc::EPERM),
        };
        assert_eq!(error.to_string(), "the kernel refuses program to_pod");
    }
}
