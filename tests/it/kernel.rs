//! The programs loaded with maps of their own, and packets run through them without any network
//! (BPF_PROG_TEST_RUN).

use std::ffi::CStr;

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use proxy_datapath::{
    for_each_table,
    tables::{self, Table},
    verdict::{Direction, Verdict},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use switchboard::{
    plan::{Changes, MapState, plan},
    tables::{Access, BpfTables, OBJECT, PinDir, Program, Tables as _},
};
use tempfile::TempDir;

/// TCX_NEXT, TC_ACT_SHOT, TC_ACT_REDIRECT.
pub(crate) const NEXT: i32 = -1;
pub(crate) const DROP: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;

/// The longest frame that a program may make of one of ours.
const FRAME_MAX: usize = 9216;

/// Where `struct __sk_buff` of the kernel's UAPI has the device's index.
const IFINDEX_AT: usize = 40;

pub(crate) struct Kernel {
    ebpf: Ebpf,
    tables: BpfTables,
    held: MapState,
}

/// How a packet left a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) action: i32,
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

/// A bpf file system for as long as maps are on their way from the loader to `BpfTables`, which
/// keep them alive without it.
struct Passage {
    directory: TempDir,
}

// === impl Kernel ===

impl Kernel {
    pub(crate) fn load() -> Result<Self> {
        let passage = Passage::mount()?;
        let pins = PinDir::new(passage.directory.path().join("switchboard"));
        let _lock = pins.prepare()?;
        let mut loader = EbpfLoader::new();
        macro_rules! pin {
            ($table:ident) => {
                loader.map_pin_path(tables::$table::NAME, pins.map::<tables::$table>())
            };
        }
        for_each_table!(pin);
        let mut ebpf = loader.load(OBJECT).context("load the object")?;
        for name in Program::PACKET.map(Program::name) {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("load {name}"))?;
        }
        Ok(Self {
            ebpf,
            tables: BpfTables::open_pinned(&pins, Access::Write)?,
            held: MapState::default(),
        })
    }

    /// Makes the service maps hold this, as the agent would.
    pub(crate) fn hold(&mut self, desired: &MapState) -> Result<()> {
        let everything = Changes::everything(&self.held, desired);
        let ops = plan(&self.held, desired, &everything);
        let failures = self.tables.apply(&ops);
        ensure!(failures.is_empty(), "write the tables: {failures:?}");
        for op in &ops {
            self.held.apply(op);
        }
        Ok(())
    }

    /// Runs one frame through a program, as if it passed the device of this index.
    pub(crate) fn run(&mut self, direction: Direction, ifindex: u32, frame: &[u8]) -> Result<Left> {
        let mut context = [0; IFINDEX_AT + 4];
        context[IFINDEX_AT..].copy_from_slice(&ifindex.to_ne_bytes());
        let before = self.tables.counters()?;
        let mut out = vec![0; FRAME_MAX];
        let result = program(&mut self.ebpf, direction.name())?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .context("run the program")?;
        out.truncate(result.data_size_out as usize);
        let after = self.tables.counters()?;
        let moved = before
            .iter()
            .zip(&after)
            .find(|(before, after)| after.direction == direction && before != after)
            .context("no counter moved")?;
        Ok(Left {
            action: result.return_value.cast_signed(),
            verdict: moved.1.verdict,
            frame: out,
        })
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

// === impl Passage ===

impl Passage {
    fn mount() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let options: Option<&CStr> = None;
        mount("bpf", directory.path(), "bpf", MountFlags::empty(), options)
            .with_context(|| format!("mount a bpffs on {}", directory.path().display()))?;
        Ok(Self { directory })
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        // What stays mounted is an empty file system in the directory for temporary files.
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}
