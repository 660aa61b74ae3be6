//! The programs, by the names that they have in the object.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf,
    programs::{CgroupSockAddr, ProgramError, SchedClassifier, Xdp},
};
use aya_obj::generated::bpf_attach_type;

use super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    Connect4,
    Connect6,
    Sendmsg4,
    Sendmsg6,
    Recvmsg4,
    Recvmsg6,
    Getpeername4,
    Getpeername6,
    FromPod,
    ToPod,
    FromNet,
    ToNet,
    FromWire,
}

/// Every program, loaded, and held for as long as this is.
pub struct Programs {
    fds: BTreeMap<Program, OwnedFd>,
}

// === impl Program ===

impl Program {
    /// Those of sockets, which are attached to a cgroup.
    pub const SOCKET: [Self; 8] = [
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
    ];
    /// Those of packets that the kernel has taken in, which are attached to devices.
    pub const PACKET: [Self; 4] = [Self::FromPod, Self::ToPod, Self::FromNet, Self::ToNet];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Recvmsg4 => "recvmsg4",
            Self::Recvmsg6 => "recvmsg6",
            Self::Getpeername4 => "getpeername4",
            Self::Getpeername6 => "getpeername6",
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::FromNet => "from_net",
            Self::ToNet => "to_net",
            Self::FromWire => "from_wire",
        }
    }

    /// Where a link attaches it; what a pod sends enters the node, hence the crossed directions.
    pub const fn attach_type(self) -> bpf_attach_type {
        match self {
            Self::Connect4 => bpf_attach_type::BPF_CGROUP_INET4_CONNECT,
            Self::Connect6 => bpf_attach_type::BPF_CGROUP_INET6_CONNECT,
            Self::Sendmsg4 => bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG,
            Self::Sendmsg6 => bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG,
            Self::Recvmsg4 => bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG,
            Self::Recvmsg6 => bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG,
            Self::Getpeername4 => bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME,
            Self::Getpeername6 => bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME,
            Self::FromPod | Self::FromNet => bpf_attach_type::BPF_TCX_INGRESS,
            Self::ToPod | Self::ToNet => bpf_attach_type::BPF_TCX_EGRESS,
            Self::FromWire => bpf_attach_type::BPF_XDP,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        Self::SOCKET
            .into_iter()
            .chain(Self::PACKET)
            .chain([Self::FromWire])
    }

    fn load(self, ebpf: &mut Ebpf) -> Result<OwnedFd, Error> {
        let program = self.name();
        let loaded = ebpf
            .program_mut(program)
            .ok_or(Error::NoProgram { program })?;
        let result = match self {
            Self::FromWire => <&mut Xdp>::try_from(&mut *loaded).and_then(Xdp::load),
            _ if Self::PACKET.contains(&self) => {
                <&mut SchedClassifier>::try_from(&mut *loaded).and_then(SchedClassifier::load)
            }
            _ => <&mut CgroupSockAddr>::try_from(&mut *loaded).and_then(CgroupSockAddr::load),
        };
        result.map_err(|error| match error {
            ProgramError::UnexpectedProgramType => Error::NoProgram { program },
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => Error::Refused {
                program,
                log: verifier_log.to_string(),
                source: io_error,
            },
            error => Error::Program {
                program,
                source: Box::new(error),
            },
        })?;
        let fd = loaded.fd().map_err(|error| Error::Program {
            program,
            source: Box::new(error),
        })?;
        fd.as_fd()
            .try_clone_to_owned()
            .map_err(Error::path("duplicate the program", program))
    }
}

// === impl Programs ===

impl Programs {
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let mut fds = BTreeMap::new();
        for program in Program::all() {
            fds.insert(program, program.load(ebpf)?);
        }
        Ok(Self { fds })
    }

    pub fn fd(&self, program: Program) -> BorrowedFd<'_> {
        self.fds
            .get(&program)
            .expect("every program is loaded before there are `Programs`")
            .as_fd()
    }

    /// Programs that let everything pass, for tests of links.
    #[cfg(test)]
    pub(crate) fn scratch() -> Self {
        use aya_obj::generated::bpf_prog_type::{
            BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP,
        };
        let load = |program: Program| {
            let (kind, value) = match program {
                // `XDP_PASS`
                Program::FromWire => (BPF_PROG_TYPE_XDP, 2),
                // `TCX_NEXT`
                _ if Program::PACKET.contains(&program) => (BPF_PROG_TYPE_SCHED_CLS, -1),
                _ => (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, 1),
            };
            let fd = super::bpf_sys::scratch::program(kind, program.attach_type(), value);
            (program, fd.unwrap())
        };
        Self {
            fds: Program::all().map(load).collect(),
        }
    }
}
