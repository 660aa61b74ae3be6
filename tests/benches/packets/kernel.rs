//! The programs and their wrapper in the kernel, with tables of a large cluster.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use proxy_datapath::{
    family::{Family, Port},
    frontend::{address, backend},
    tables::{Backend, Flow, FlowKey, Frontend, FrontendKey, port_proto},
};

use crate::{
    Case,
    frame::{Frame, LENGTH},
};

const SERVICES: u32 = 10_000;
const BACKENDS_PER_SERVICE: u32 = 10;
const FRONTEND_PORT: u16 = 80;
pub(crate) const BACKEND_PORT: u16 = 8080;
const NEXT: i32 = -1;

/// `Template` of proxy-ebpf/src/bin/bench.rs, as words: the frame, the count, offset and mask.
type Template = [u64; LENGTH / 8 + 2];

pub(crate) struct Kernel {
    programs: Ebpf,
    wrapper: Ebpf,
}

/// Addresses of a family's cluster, by service.
pub(crate) trait Cluster: Family<Addr: Pod> {
    fn vip(service: u32) -> IpAddr;
    fn backend(service: u32, index: u32) -> IpAddr;
    fn client() -> IpAddr;

    /// Of the first service.
    fn frontend() -> SocketAddr {
        SocketAddr::new(Self::vip(0), FRONTEND_PORT)
    }
}

// === impl Kernel ===

impl Kernel {
    /// Loads both objects, with maps of their own, from a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let programs = load(&folder.join("switchboard-ebpf"), &["from_pod", "to_pod"])?;
        let wrapper = load(&folder.join("bench-ebpf"), &["reset", "pass"])?;
        Ok(Self { programs, wrapper })
    }

    /// Programs the cluster's services. The first has one backend, so that its replies are known.
    pub(crate) fn fill<F: Cluster>(&mut self, proto: u32) -> Result<()> {
        for service in 0..SERVICES {
            let count = if service == 0 {
                1
            } else {
                BACKENDS_PER_SERVICE
            };
            let base = service * BACKENDS_PER_SERVICE;
            for index in 0..count {
                let addr = F::from_ip(F::backend(service, index)).context("a backend's family")?;
                let port_proto = port_proto(Port::new(BACKEND_PORT), proto);
                let value = Backend::<F> {
                    addr,
                    port_proto,
                    state: backend::ACTIVE,
                    flags: backend::HERE | backend::IN_CLUSTER_SET,
                    service,
                };
                let mut backends: Array<_, Backend<F>> =
                    map(&mut self.programs, &name::<F>("BACKENDS"))?.try_into()?;
                backends.set(base + index, value, 0)?;
                let mut slots: Array<_, u32> = map(&mut self.programs, "SLOTS")?.try_into()?;
                slots.set(base + index, base + index, 0)?;
            }
            let addr = F::from_ip(F::vip(service)).context("a frontend's family")?;
            let key = FrontendKey::<F>::new(addr, Port::new(FRONTEND_PORT), proto);
            let mut frontends: HashMap<_, FrontendKey<F>, Frontend> =
                map(&mut self.programs, &name::<F>("FRONTENDS"))?.try_into()?;
            frontends.insert(
                key,
                Frontend {
                    base,
                    count,
                    wire_base: base,
                    wire_count: count,
                    service,
                    ..Frontend::default()
                },
                0,
            )?;
            let mut addresses: HashMap<_, F::Addr, u32> =
                map(&mut self.programs, &name::<F>("ADDRESSES"))?.try_into()?;
            addresses.insert(addr, address::FRONTEND, 0)?;
        }
        Ok(())
    }

    pub(crate) fn forget_flows<F: Cluster>(&mut self) -> Result<()> {
        let mut flows: HashMap<&mut MapData, FlowKey<F>, Flow<F>> =
            map(&mut self.programs, &name::<F>("FLOWS"))?.try_into()?;
        let keys: Vec<FlowKey<F>> = flows.keys().collect::<Result<_, _>>()?;
        for key in keys {
            flows.remove(&key)?;
        }
        Ok(())
    }

    /// Nanoseconds for one run of a program that does nothing, without the wrapper.
    pub(crate) fn empty(&mut self, frame: &Frame, repeat: u32) -> Result<f64> {
        let options = TestRunOptions {
            data_in: Some(&frame.bytes),
            repeat,
            ..TestRunOptions::default()
        };
        Ok(nanoseconds(
            program(&mut self.wrapper, "pass")?
                .test_run(options)?
                .duration,
        ))
    }

    /// Nanoseconds for one packet through the wrapper alone.
    pub(crate) fn floor(
        &mut self,
        frame: &Frame,
        port: u32,
        flows: u32,
        repeat: u32,
    ) -> Result<f64> {
        let fd = program(&mut self.wrapper, "pass")?.fd()?.try_clone()?;
        self.set_next(&fd)?;
        self.repeat(frame, port, flows, repeat)
    }

    /// Nanoseconds for one packet through the wrapper and a program; every packet must end as the
    /// case wants.
    pub(crate) fn run(&mut self, case: &Case, flows: u32, repeat: u32) -> Result<f64> {
        let fd = program(&mut self.programs, case.direction.name())?
            .fd()?
            .try_clone()?;
        self.set_next(&fd)?;
        let index = case.direction.counter(case.code);
        let before = self.counter(index)?;
        let ns = self.repeat(&case.frame, case.port, flows, repeat)?;
        let counted = self.counter(index)? - before;
        ensure!(
            counted == u64::from(repeat),
            "{} {}: only {counted} of {repeat} packets ended as they must",
            case.direction.name(),
            case.name,
        );
        Ok(ns)
    }

    fn set_next(&mut self, fd: &aya::programs::ProgramFd) -> Result<()> {
        let mut next: ProgramArray<_> = map(&mut self.wrapper, "PROGRAMS")?.try_into()?;
        Ok(next.set(0, fd, 0)?)
    }

    fn repeat(&mut self, frame: &Frame, port: u32, flows: u32, repeat: u32) -> Result<f64> {
        let mut template: Template = [0; LENGTH / 8 + 2];
        for (word, bytes) in template.iter_mut().zip(frame.bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        template[LENGTH / 8 + 1] = u64::from(port) | u64::from(flows - 1) << 32;
        let mut templates: Array<_, Template> = map(&mut self.wrapper, "TEMPLATE")?.try_into()?;
        templates.set(0, template, 0)?;
        let options = TestRunOptions {
            data_in: Some(&frame.bytes),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program(&mut self.wrapper, "reset")?.test_run(options)?;
        ensure!(
            result.return_value.cast_signed() == NEXT,
            "returned {}",
            result.return_value
        );
        Ok(nanoseconds(result.duration))
    }

    fn counter(&mut self, index: u32) -> Result<u64> {
        let counters: PerCpuArray<_, u64> = map(&mut self.programs, "COUNTERS")?.try_into()?;
        Ok(counters.get(&index, 0)?.iter().sum())
    }
}

fn load(path: &Path, names: &[&str]) -> Result<Ebpf> {
    let object = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut ebpf = EbpfLoader::new().load(&object)?;
    for name in names {
        program(&mut ebpf, name)?
            .load()
            .with_context(|| format!("load {name}"))?;
    }
    Ok(ebpf)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?
        .try_into()?)
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    ebpf.map_mut(name).with_context(|| format!("no map {name}"))
}

fn name<F: Family>(table: &str) -> String {
    format!("{table}{}", F::NUMBER)
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}
