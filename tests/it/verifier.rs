//! The kernel accepts every program, however LLVM compiled it, with room to spare.
//!
//! `cargo xtask test` compiles the object for each of LLVM's BPF processors and names their folder
//! in `SWITCHBOARD_EBPF_OBJECTS`; what each program costs the verifier is printed.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
};

use aya::{
    EbpfLoader,
    programs::{Program, ProgramInfo},
};
use tests::privileges;

const OBJECTS_VARIABLE: &str = "SWITCHBOARD_EBPF_OBJECTS";
/// Instructions that the verifier may walk through: two fifths of the million at which the kernel
/// gives up, since another kernel or compiler may make it walk through more.
const VERIFIED_MAX: u32 = 400_000;

#[test]
fn every_program_loads_as_generic_code() {
    load("generic");
}

#[test]
fn every_program_loads_as_v3_code() {
    load("v3");
}

fn load(cpu: &str) {
    if !privileges::are_there() {
        return;
    }
    let Some(folder) = env::var_os(OBJECTS_VARIABLE) else {
        privileges::skip(&format!(
            "{OBJECTS_VARIABLE} is not set; `cargo xtask test` sets it"
        ));
        return;
    };
    let path = Path::new(&folder)
        .join(cpu)
        .join("bpfel-unknown-none/release/switchboard-ebpf");
    let object = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut ebpf = EbpfLoader::new().load(&object).unwrap();
    let mut count = 0;
    let mut offences: Vec<String> = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let info = load_program(program).unwrap_or_else(|error| panic!("{cpu} {name}: {error:#}"));
        let verified = info
            .verified_instruction_count()
            .expect("known since Linux 5.16");
        let translated = info.size_translated().expect("root may see the program") / 8;
        let jitted = info.size_jitted();
        // Written directly: the test harness would keep back what a passing test prints.
        let _ = writeln!(
            io::stderr(),
            "{cpu:<7} {name:<12} {verified:>6} verified {translated:>5} insns {jitted:>6} B"
        );
        if verified > VERIFIED_MAX {
            offences.push(format!("{name} {verified}"));
        }
        count += 1;
    }
    assert_eq!(count, 13, "programs in the object of {cpu}");
    assert!(
        offences.is_empty(),
        "{cpu}: over {VERIFIED_MAX} verified: {}",
        offences.join(", ")
    );
}

fn load_program(program: &mut Program) -> anyhow::Result<ProgramInfo> {
    match program {
        Program::CgroupSockAddr(program) => {
            program.load()?;
            Ok(program.info()?)
        }
        Program::SchedClassifier(program) => {
            program.load()?;
            Ok(program.info()?)
        }
        Program::Xdp(program) => {
            program.load()?;
            Ok(program.info()?)
        }
        other => anyhow::bail!("a program of type {:?}", other.prog_type()),
    }
}
