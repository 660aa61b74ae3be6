//! The programs of packets as filters of a clsact qdisc, for kernels before 6.6.
//!
//! A filter belongs to its device and outlives the agent without a pin. Priority and handle are
//! always the same, so that the next agent replaces it where it stands, atomically; the name says
//! whose it is, and which: a device that changes its role has its filters replaced as well.

use std::os::fd::AsRawFd as _;

use netlink_packet_core::{
    DecodeError, NLM_F_CREATE, NLM_F_EXCL, NetlinkDeserializable, NetlinkHeader, NlasIterator,
    parse_string, parse_u32,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Attached, Device, Error, Role};
use crate::{
    attach::netlink::{Requests, Routing},
    tables::{Program, Programs, bpf_sys},
};

/// Ahead of filters for which the kernel chose a place, behind those that asked for the first.
const PRIORITY: u32 = 5;
const HANDLE: u32 = 0x5b;
/// `ETH_P_ALL` in wire order.
const EVERY_PROTOCOL: u32 = 0x0003_u16.to_be() as u32;
const NAME_PREFIX: &str = "switchboard/";
const INGRESS: TcHandle = TcHandle {
    major: TcHandle::CLSACT.major,
    minor: TcHandle::MIN_INGRESS,
};
const EGRESS: TcHandle = TcHandle {
    major: TcHandle::CLSACT.major,
    minor: TcHandle::MIN_EGRESS,
};
const PARENTS: [TcHandle; 2] = [INGRESS, EGRESS];

/// `TCA_KIND`, `TCA_OPTIONS`, `TCA_BPF_NAME` and `TCA_BPF_ID` of the kernel's UAPI.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

pub(super) struct Clsact {
    requests: Requests,
}

/// A filter at one of the two hooks of a device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    handle: u32,
    kind: String,
    name: String,
    program_id: u32,
}

/// A reply that is a filter, or something else.
struct Reply(Option<Filter>);

// === impl Clsact ===

impl Clsact {
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self {
            requests: Requests::open(NETLINK_ROUTE)?,
        })
    }

    /// Attaches the two programs of a device's role, or replaces what is there with them.
    pub(super) fn attach(&mut self, programs: &Programs, device: &Device) -> Result<(), Error> {
        let ifindex = device.ifindex;
        for program in device.role.programs() {
            let fd = programs.fd(program);
            let wanted = bpf_sys::program_id(fd)
                .map_err(Error::at("examine the program", program.name()))?;
            if self
                .find(ifindex, program)?
                .is_some_and(|found| found.program_id == wanted)
            {
                continue;
            }
            self.make_qdisc(ifindex)?;
            let options = vec![
                TcFilterBpfOption::ProgFd(fd.as_raw_fd() as u32),
                TcFilterBpfOption::ProgName(name_of(program)),
                TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
            ];
            let mut message = filter_message(ifindex, program);
            message.attributes.push(TcAttribute::Options(
                options.into_iter().map(TcOption::Bpf).collect(),
            ));
            // Without `NLM_F_EXCL` the kernel replaces a filter of the same handle in one step.
            self.requests.execute_with(
                "attach a filter",
                RouteNetlinkMessage::NewTrafficFilter(message),
                NLM_F_CREATE,
            )?;
        }
        Ok(())
    }

    /// Removes our filters from a device, and the qdisc if nobody else uses it.
    pub(super) fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        let ours = self.attached_to(ifindex)?;
        for program in &ours {
            let request = RouteNetlinkMessage::DelTrafficFilter(filter_message(ifindex, *program));
            self.requests.execute("remove a filter", request)?;
        }
        if !ours.is_empty() && self.is_unused(ifindex)? {
            let request = RouteNetlinkMessage::DelQueueDiscipline(qdisc_message(ifindex));
            self.requests.execute("remove a qdisc", request)?;
        }
        Ok(())
    }

    /// Every filter of ours in this namespace.
    pub(super) fn attached(&mut self) -> Result<Vec<Attached>, Error> {
        let mut attached = Vec::new();
        for link in Routing::open()?.links()? {
            for program in self.attached_to(link.ifindex)? {
                let device = Device {
                    ifindex: link.ifindex,
                    ifname: link.ifname.clone(),
                    role: Role::of(program),
                };
                attached.push(Attached { device, program });
            }
        }
        Ok(attached)
    }

    /// The programs of ours on a device.
    fn attached_to(&mut self, ifindex: u32) -> Result<Vec<Program>, Error> {
        let mut programs = Vec::new();
        for parent in PARENTS {
            let filters = self.filters(ifindex, parent)?;
            let is_ours = |program: &Program| {
                parent_of(*program) == parent && filters.iter().any(|one| one.is(*program))
            };
            programs.extend(Program::PACKET.into_iter().filter(is_ours));
        }
        Ok(programs)
    }

    fn find(&mut self, ifindex: u32, program: Program) -> Result<Option<Filter>, Error> {
        let filters = self.filters(ifindex, parent_of(program))?;
        Ok(filters.into_iter().find(|filter| filter.is(program)))
    }

    fn is_unused(&mut self, ifindex: u32) -> Result<bool, Error> {
        for parent in PARENTS {
            if !self.filters(ifindex, parent)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The filters at a hook, whosoever they are; none without a device.
    fn filters(&mut self, ifindex: u32, parent: TcHandle) -> Result<Vec<Filter>, Error> {
        let mut message = TcMessage::default();
        message.header.index = ifindex as i32;
        message.header.parent = parent;
        let request = RouteNetlinkMessage::GetTrafficFilter(message);
        Ok(self
            .requests
            .dump("list filters", request, |Reply(filter)| filter)?)
    }

    fn make_qdisc(&mut self, ifindex: u32) -> Result<(), Error> {
        let request = RouteNetlinkMessage::NewQueueDiscipline(qdisc_message(ifindex));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        match self
            .requests
            .execute_with("make a clsact qdisc", request, flags)
        {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
            result => Ok(result?),
        }
    }
}

// === impl Reply ===

impl NetlinkDeserializable for Reply {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type != libc::RTM_NEWTFILTER {
            return Ok(Self(None));
        }
        let header = TcHeader::parse(payload)?;
        let mut filter = Filter {
            handle: header.handle.into(),
            ..Filter::default()
        };
        let attributes = payload
            .get(size_of::<libc::c_int>() * 5..)
            .unwrap_or_default();
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                TCA_KIND => filter.kind = parse_string(attribute.value())?,
                // Only ours are looked into; others may be of any kind.
                TCA_OPTIONS if filter.kind == TcFilterBpf::KIND => {
                    filter.read_options(attribute.value())?;
                }
                _ => {}
            }
        }
        Ok(Self(Some(filter)))
    }
}

// === impl Filter ===

impl Filter {
    fn is(&self, program: Program) -> bool {
        self.handle == HANDLE && self.name == name_of(program)
    }

    fn read_options(&mut self, options: &[u8]) -> Result<(), DecodeError> {
        for option in NlasIterator::new(options) {
            let option = option?;
            match option.kind() {
                TCA_BPF_NAME => self.name = parse_string(option.value())?,
                TCA_BPF_ID => self.program_id = parse_u32(option.value())?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn name_of(program: Program) -> String {
    format!("{NAME_PREFIX}{}", program.name())
}

const fn parent_of(program: Program) -> TcHandle {
    match program {
        Program::FromPod | Program::FromNet => INGRESS,
        _ => EGRESS,
    }
}

fn filter_message(ifindex: u32, program: Program) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex as i32;
    message.header.parent = parent_of(program);
    message.header.handle = HANDLE.into();
    message.header.info = PRIORITY << 16 | EVERY_PROTOCOL;
    message
        .attributes
        .push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message
}

fn qdisc_message(ifindex: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex as i32;
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: 0,
    };
    message
        .attributes
        .push(TcAttribute::Kind("clsact".to_owned()));
    message
}
