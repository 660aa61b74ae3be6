//! `cargo xtask codegen`: writes docs/maps.md from `proxy_datapath::tables`.

use std::any::type_name;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use proxy_datapath::for_each_table;
use proxy_datapath::tables::{self, ABI_VERSION, Kind, Table};

use crate::shell::root;

/// Write the generated files: docs/maps.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is not what would be written.
    #[arg(long)]
    check: bool,
}

const MAPS: &str = "docs/maps.md";

pub(crate) fn run(args: Args) -> Result<()> {
    if args.check {
        return check();
    }
    let path = root().join(MAPS);
    fs::write(&path, render_maps()).with_context(|| format!("write {}", path.display()))?;
    println!("wrote {MAPS}");
    Ok(())
}

pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(root().join(MAPS)).with_context(|| format!("read {MAPS}"))?;
    ensure!(
        text == render_maps(),
        "{MAPS} is out of date: run `cargo xtask codegen`"
    );
    Ok(())
}

fn render_maps() -> String {
    let mut text = format!(
        "# Maps\n\n\
         Generated from `proxy-datapath/src/tables` by `cargo xtask codegen`; the types of \
         keys and values are described there.\n\
         Layout version: {ABI_VERSION}.\n\
         Every map is pinned as `maps/<name in lower case>_v{ABI_VERSION}` below the pin \
         folder.\n\n\
         | map | kind | key | value | capacity | keys and values at capacity |\n\
         |---|---|---|---|---|---|\n"
    );
    macro_rules! row {
        ($table:ident) => {
            render_row::<tables::$table>(&mut text)
        };
    }
    for_each_table!(row);
    macro_rules! about {
        ($table:ident) => {
            render_about::<tables::$table>(&mut text)
        };
    }
    for_each_table!(about);
    text
}

fn render_row<T: Table>(text: &mut String) {
    let (key, value) = (size_of::<T::Key>(), size_of::<T::Value>());
    let kind = match T::KIND {
        Kind::Hash => "hash",
        Kind::LruHash => "LRU hash",
        Kind::LpmTrie => "longest-prefix trie",
        Kind::Array => "array",
        Kind::PerCpuArray => "array per CPU",
    };
    // An array has no keys to store.
    let stored = match T::KIND {
        Kind::Hash | Kind::LruHash | Kind::LpmTrie => key + value,
        Kind::Array | Kind::PerCpuArray => value,
    };
    let kib = (stored * T::CAPACITY as usize).div_ceil(1024);
    writeln!(
        text,
        "| `{}` | {kind} | `{}`, {key} B | `{}`, {value} B | {} | {kib} KiB |",
        T::NAME,
        name_of::<T::Key>(),
        name_of::<T::Value>(),
        T::CAPACITY,
    )
    .expect("writing to a string does not fail");
}

fn render_about<T: Table>(text: &mut String) {
    write!(text, "\n## {}\n\n{}\n", T::NAME, T::ABOUT).expect("writing to a string does not fail");
}

/// A type's name without the modules: `FlowKey<Ipv4>`.
fn name_of<T>() -> String {
    type_name::<T>()
        .split('<')
        .map(|part| part.rsplit("::").next().unwrap_or(part))
        .collect::<Vec<_>>()
        .join("<")
}
