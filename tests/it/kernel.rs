//! The programs loaded with maps of their own, and packets run through them without any network
//! (BPF_PROG_TEST_RUN).

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use proxy_datapath::{
    family::Family,
    tables::{Backend, Frontend, FrontendKey},
    verdict::{CODES, Direction, Verdict},
};
use switchboard::{
    plan::{Changes, FamilyOp, MapState, Op, plan},
    tables::OBJECT,
};

/// TCX_NEXT, TC_ACT_SHOT, TC_ACT_REDIRECT.
pub(crate) const NEXT: i32 = -1;
pub(crate) const DROP: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;

/// The longest frame that a program may make of one of ours.
const FRAME_MAX: usize = 9216;

pub(crate) struct Kernel {
    ebpf: Ebpf,
    held: MapState,
}

/// How a packet left a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) action: i32,
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

// === impl Kernel ===

impl Kernel {
    pub(crate) fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the object")?;
        for name in ["from_pod", "to_pod"] {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("load {name}"))?;
        }
        Ok(Self {
            ebpf,
            held: MapState::default(),
        })
    }

    /// Makes the service maps hold this, as the agent would.
    pub(crate) fn hold(&mut self, desired: &MapState) -> Result<()> {
        let everything = Changes::everything(&self.held, desired);
        for op in plan(&self.held, desired, &everything) {
            match op {
                Op::Slot { index, backend } => {
                    let mut slots: Array<_, u32> = self.map("SLOTS")?.try_into()?;
                    slots.set(index, backend, 0)?;
                }
                Op::V4(op) => self.write(op)?,
                Op::V6(op) => self.write(op)?,
            }
            self.held.apply(&op);
        }
        Ok(())
    }

    /// Runs one frame through a program.
    pub(crate) fn run(&mut self, direction: Direction, frame: &[u8]) -> Result<Left> {
        let before = self.counters()?;
        let mut out = vec![0; FRAME_MAX];
        let result = program(&mut self.ebpf, direction.name())?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .context("run the program")?;
        out.truncate(result.data_size_out as usize);
        let after = self.counters()?;
        let moved = (0..CODES).find(|&code| {
            let place = direction.counter(code) as usize;
            before.get(place) != after.get(place)
        });
        let verdict = moved
            .and_then(Verdict::from_code)
            .context("no counter moved")?;
        Ok(Left {
            action: result.return_value.cast_signed(),
            verdict,
            frame: out,
        })
    }

    fn counters(&mut self) -> Result<Vec<u64>> {
        let map: PerCpuArray<_, u64> = self.map("COUNTERS")?.try_into()?;
        (0..map.len())
            .map(|index| Ok(map.get(&index, 0)?.iter().sum()))
            .collect()
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf
            .map_mut(name)
            .with_context(|| format!("no map {name}"))
    }

    fn write<F: Family>(&mut self, op: FamilyOp<F>) -> Result<()>
    where
        F::Addr: aya::Pod,
    {
        let name = |table: &str| format!("{table}{}", F::NUMBER);
        match op {
            FamilyOp::Backend { id, value } => {
                let map = self.map(&name("BACKENDS"))?;
                let mut backends: Array<&mut MapData, Backend<F>> = map.try_into()?;
                backends.set(id, value.unwrap_or_default(), 0)?;
            }
            FamilyOp::Vip { addr, value } => {
                let mut vips: HashMap<&mut MapData, F::Addr, u32> =
                    self.map(&name("VIPS"))?.try_into()?;
                match value {
                    Some(value) => vips.insert(addr, value, 0)?,
                    None => vips.remove(&addr)?,
                }
            }
            FamilyOp::Frontend { key, value } => {
                let mut frontends: HashMap<&mut MapData, FrontendKey<F>, Frontend> =
                    self.map(&name("FRONTENDS"))?.try_into()?;
                match value {
                    Some(value) => frontends.insert(key, value, 0)?,
                    None => frontends.remove(&key)?,
                }
            }
        }
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}
