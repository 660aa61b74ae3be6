//! The programs of packets as filters of a clsact qdisc, for kernels before 6.6.
//!
//! A filter belongs to its device and outlives the agent without a pin. Priority and handle are
//! always the same, so that the next agent replaces it where it stands, atomically; the name says
//! whose it is.

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

use super::{Attached, Device, Error};
use crate::{
    attach::netlink::{Link, Requests, Routing},
    tables::{Program, Programs, bpf_sys},
};

/// Ahead of filters for which the kernel chose a place, behind those that asked for the first.
const PRIORITY: u32 = 5;
const HANDLE: u32 = 0x5b;
/// `ETH_P_ALL` in wire order.
const EVERY_PROTOCOL: u32 = 0x0003_u16.to_be() as u32;
const NAME_PREFIX: &str = "switchboard/";

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

    /// Attaches both programs to a device, or replaces them there.
    pub(super) fn attach(&mut self, programs: &Programs, ifindex: u32) -> Result<(), Error> {
        // Replies first: what `from_pod` translates, `to_pod` must translate back.
        for program in [Program::ToPod, Program::FromPod] {
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

    /// The programs of ours on a device.
    fn attached_to(&mut self, ifindex: u32) -> Result<Vec<Program>, Error> {
        let mut programs = Vec::new();
        for program in Program::PACKET {
            if self.find(ifindex, program)?.is_some() {
                programs.push(program);
            }
        }
        Ok(programs)
    }

    fn find(&mut self, ifindex: u32, program: Program) -> Result<Option<Filter>, Error> {
        let name = name_of(program);
        let filters = self.filters(ifindex, program)?;
        Ok(filters
            .into_iter()
            .find(|filter| filter.handle == HANDLE && filter.name == name))
    }

    fn is_unused(&mut self, ifindex: u32) -> Result<bool, Error> {
        for program in Program::PACKET {
            if !self.filters(ifindex, program)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The filters at the hook where `program` belongs, whosoever they are; none without a device.
    fn filters(&mut self, ifindex: u32, program: Program) -> Result<Vec<Filter>, Error> {
        let mut message = TcMessage::default();
        message.header.index = ifindex as i32;
        message.header.parent = parent_of(program);
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

/// The devices of this namespace.
pub(super) fn devices() -> Result<Vec<Device>, Error> {
    let links = Routing::open()?.links()?;
    let device = |link: Link| Device {
        ifindex: link.ifindex,
        ifname: link.ifname,
    };
    Ok(links.into_iter().map(device).collect())
}

/// Every filter of ours in this namespace.
pub(super) fn attached() -> Result<Vec<Attached>, Error> {
    let mut clsact = Clsact::open()?;
    let mut attached = Vec::new();
    for device in devices()? {
        for program in clsact.attached_to(device.ifindex)? {
            attached.push(Attached {
                device: device.clone(),
                program,
            });
        }
    }
    Ok(attached)
}

fn name_of(program: Program) -> String {
    format!("{NAME_PREFIX}{}", program.name())
}

const fn parent_of(program: Program) -> TcHandle {
    let minor = match program {
        Program::FromPod => TcHandle::MIN_INGRESS,
        _ => TcHandle::MIN_EGRESS,
    };
    TcHandle {
        major: TcHandle::CLSACT.major,
        minor,
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
