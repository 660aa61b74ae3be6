//! Documents: one title each, and a root that fits on a screen.

use std::fs;

use super::{
    check,
    source::{files, root},
};

const ROOT_ENTRIES_MAX: usize = 22;

#[test]
fn every_document_has_one_title() {
    let mut offences = Vec::new();
    for source in files("md") {
        let mut in_code = false;
        let mut titles = 0;
        for line in source.text.lines() {
            in_code ^= line.starts_with("```");
            titles += usize::from(!in_code && line.starts_with("# "));
        }
        if titles != 1 {
            offences.push(format!("{}: {titles}", source.path));
        }
    }
    check(
        "a document has exactly one line that begins with `# `",
        &offences,
    );
}

#[test]
fn the_root_fits_on_a_screen() {
    let names: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    let count = names.len();
    assert!(
        count <= ROOT_ENTRIES_MAX,
        "{count} entries in the root: {}",
        names.join(" ")
    );
}
