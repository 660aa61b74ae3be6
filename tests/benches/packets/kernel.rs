//! The programs and their wrappers in the kernel, and runs of them.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunResult,
    maps::{Array, Map, MapData, MapError, PerCpuArray, ProgramArray},
    programs::{Program, ProgramFd, TestRun as _, TestRunOptions},
};
use proxy_datapath::{
    family::Family,
    verdict::{Direction, code},
};

use crate::{
    cases::Case,
    frame::{Frame, LENGTH},
    namespace::{POD, UPLINK},
};

/// TCX_NEXT, TC_ACT_REDIRECT.
const NEXT: u32 = u32::MAX;
const REDIRECT: u32 = 7;
/// XDP_PASS, XDP_REDIRECT.
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// `Template` of proxy-ebpf/src/bin/bench.rs, as words: the frame, the count, offset and mask.
type Template = [u64; LENGTH / 8 + 2];

/// The kind of a program, which has a floor of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tc,
    Xdp,
}

pub(crate) struct Kernel {
    programs: Ebpf,
    wrapper: Ebpf,
}

/// Packets on their way into the wrapper of a kind.
struct Packets<'a> {
    kind: Kind,
    device: u32,
    frame: &'a Frame,
    port: u32,
    flows: u32,
}

// === impl Kernel ===

impl Kernel {
    /// Loads both objects, with maps of their own, from a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let packet = [
            Direction::FromPod,
            Direction::ToPod,
            Direction::FromNet,
            Direction::ToNet,
            Direction::FromWire,
        ];
        let programs = load(
            &folder.join("switchboard-ebpf"),
            &packet.map(Direction::name),
        )?;
        let wrappers = Kind::ALL.map(|kind| [kind.reset(), kind.pass()]);
        let wrapper = load(&folder.join("bench-ebpf"), wrappers.as_flattened())?;
        Ok(Self { programs, wrapper })
    }

    /// A map of the programs.
    pub(crate) fn table<'a, T>(&'a mut self, name: &str) -> Result<T>
    where
        T: TryFrom<&'a mut Map, Error = MapError>,
    {
        map(&mut self.programs, name)
    }

    /// A map of the programs that each family has its own of.
    pub(crate) fn of_family<'a, F: Family, T>(&'a mut self, name: &str) -> Result<T>
    where
        T: TryFrom<&'a mut Map, Error = MapError>,
    {
        self.table(&format!("{name}{}", F::NUMBER))
    }

    /// Nanoseconds for one run of a program that does nothing, without the wrapper.
    pub(crate) fn empty(&mut self, kind: Kind, case: &Case, repeat: u32) -> Result<f64> {
        let packets = Packets {
            kind,
            ..Packets::of(case, 1)
        };
        let name = packets.kind.pass();
        Ok(nanoseconds(
            packets.through(&mut self.wrapper, name, repeat)?.duration,
        ))
    }

    /// Nanoseconds for one packet through the wrapper alone.
    pub(crate) fn floor(&mut self, kind: Kind, case: &Case, repeat: u32) -> Result<f64> {
        let packets = Packets {
            kind,
            ..Packets::of(case, 1)
        };
        let next = descriptor(&mut self.wrapper, packets.kind.pass())?;
        let passed = packets.kind.action(code::PASS);
        self.wrapped(&packets, &next, passed, repeat)
    }

    /// Nanoseconds for one packet through the wrapper and a program; every packet must end as the
    /// case wants.
    pub(crate) fn run(&mut self, case: &Case, flows: u32, repeat: u32) -> Result<f64> {
        let packets = Packets::of(case, flows);
        let next = descriptor(&mut self.programs, case.direction.name())?;
        // `from_wire` counts what it sends on, and nothing else.
        let (counted, wanted) = match (case.direction, case.code) {
            (Direction::FromWire, code::PASS) => (code::FORWARD, 0),
            (_, code) => (code, repeat),
        };
        let index = case.direction.counter(counted);
        let action = packets.kind.action(case.code);
        let before = self.counter(index)?;
        let ns = self
            .wrapped(&packets, &next, action, repeat)
            .with_context(|| case.label())?;
        let ended = self.counter(index)? - before;
        ensure!(
            ended == u64::from(wanted),
            "{}: {ended} of {repeat} packets were counted, not {wanted}",
            case.label(),
        );
        Ok(ns)
    }

    fn wrapped(
        &mut self,
        packets: &Packets<'_>,
        next: &ProgramFd,
        action: u32,
        repeat: u32,
    ) -> Result<f64> {
        let mut programs: ProgramArray<&mut MapData> =
            map(&mut self.wrapper, packets.kind.programs())?;
        programs.set(0, next, 0)?;
        let mut templates: Array<_, Template> = map(&mut self.wrapper, "TEMPLATE")?;
        templates.set(0, packets.template(), 0)?;
        let result = packets.through(&mut self.wrapper, packets.kind.reset(), repeat)?;
        ensure!(
            result.return_value == action,
            "the last packet returned {}, not {action}",
            result.return_value
        );
        Ok(nanoseconds(result.duration))
    }

    fn counter(&mut self, index: u32) -> Result<u64> {
        let counters: PerCpuArray<_, u64> = self.table("COUNTERS")?;
        Ok(counters.get(&index, 0)?.iter().sum())
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Tc, Self::Xdp];

    pub(crate) const fn of(direction: Direction) -> Self {
        match direction {
            Direction::FromWire => Self::Xdp,
            _ => Self::Tc,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }

    const fn reset(self) -> &'static str {
        match self {
            Self::Tc => "reset",
            Self::Xdp => "reset_xdp",
        }
    }

    const fn pass(self) -> &'static str {
        match self {
            Self::Tc => "pass",
            Self::Xdp => "pass_xdp",
        }
    }

    const fn programs(self) -> &'static str {
        match self {
            Self::Tc => "PROGRAMS",
            Self::Xdp => "XDP_PROGRAMS",
        }
    }

    /// What a program returns for a verdict.
    const fn action(self, verdict: u32) -> u32 {
        match (self, verdict) {
            (Self::Tc, code::FORWARD) => REDIRECT,
            (Self::Tc, _) => NEXT,
            (Self::Xdp, code::FORWARD) => XDP_REDIRECT,
            (Self::Xdp, _) => XDP_PASS,
        }
    }
}

// === impl Packets ===

impl<'a> Packets<'a> {
    const fn of(case: &'a Case, flows: u32) -> Self {
        let device = match case.direction {
            Direction::FromPod | Direction::ToPod => POD,
            _ => UPLINK,
        };
        Self {
            kind: Kind::of(case.direction),
            device,
            frame: &case.frame,
            port: case.port,
            flows,
        }
    }

    fn template(&self) -> Template {
        let mut template: Template = [0; LENGTH / 8 + 2];
        for (word, bytes) in template.iter_mut().zip(self.frame.bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        template[LENGTH / 8 + 1] = u64::from(self.port) | u64::from(self.flows - 1) << 32;
        template
    }

    /// `struct __sk_buff` or `struct xdp_md` of the kernel's UAPI, as far as the device's index.
    fn context(&self) -> Vec<u8> {
        let words = match self.kind {
            Kind::Tc => vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.device],
            Kind::Xdp => vec![0, LENGTH as u32, 0, self.device],
        };
        words.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    fn through(&self, ebpf: &mut Ebpf, name: &str, repeat: u32) -> Result<TestRunResult> {
        let context = self.context();
        let options = TestRunOptions {
            data_in: Some(&self.frame.bytes),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let result = match program(ebpf, name)? {
            Program::SchedClassifier(program) => program.test_run(options),
            Program::Xdp(program) => program.test_run(options),
            _ => bail!("{name} is a program of another kind"),
        };
        result.with_context(|| format!("run {name}"))
    }
}

fn load(path: &Path, names: &[&str]) -> Result<Ebpf> {
    let object = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut ebpf = EbpfLoader::new().load(&object)?;
    for name in names {
        let loaded = match program(&mut ebpf, name)? {
            Program::SchedClassifier(program) => program.load(),
            Program::Xdp(program) => program.load(),
            _ => bail!("{name} is a program of another kind"),
        };
        loaded.with_context(|| format!("load {name}"))?;
    }
    Ok(ebpf)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name)
        .with_context(|| format!("no program {name}"))
}

fn descriptor(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd> {
    Ok(program(ebpf, name)?.fd()?.try_clone()?)
}

fn map<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("no map {name}"))?;
    T::try_from(map).map_err(|error| anyhow!(error).context(format!("open {name}")))
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}
