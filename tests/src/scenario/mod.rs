//! A scenario: one text file that says what must hold, checked as tables, as packets and, where it
//! has such lines, over the lab.
//!
//! `# ` lines first, the first of them one sentence; then sections, each under a `-- name --`:
//! `config` (the agent's configuration file, of the first step), `objects` (`objects`),
//! `FILE.yaml` (the file itself), `maps` (frontends, the sources they admit, backends),
//! `addresses` (what the node knows of addresses), `diagnostics`, `packets` (`packet.rs`), `lab`
//! (`call.rs`). `-- step TITLE --` begins the next step, whose objects amend those before. `--
//! restart --` says that the agent starts anew before the step, with the maps as they were.

pub mod call;
pub mod objects;
pub mod packet;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use call::Call;
use objects::Objects;
use packet::PacketLine;

#[derive(Clone, Debug)]
pub struct Scenario {
    /// What must hold.
    pub title: String,
    /// The configuration file.
    pub config: String,
    pub steps: Vec<Step>,
    /// The whole text, as sections.
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Empty for the first.
    pub title: String,
    pub restart: bool,
    /// Everything that exists in this step, also from the steps before.
    pub objects: Objects,
    pub maps: Option<Expectation>,
    pub addresses: Option<Expectation>,
    pub diagnostics: Option<Expectation>,
    pub packets: Vec<PacketLine>,
    pub calls: Vec<Call>,
}

/// What a section says must be there, and which section it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub text: String,
    section: usize,
}

#[derive(Clone, Debug, Default)]
struct Section {
    /// What is between the dashes; empty for the lines before the first section.
    name: String,
    lines: Vec<String>,
    /// The line of the file that `lines` begin at, counted from 1.
    first_line: usize,
}

/// The scenarios of the repository, sorted.
pub fn files() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

// === impl Scenario ===

impl Scenario {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("parse {}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let sections = split(text);
        let head = sections.first().context("the file is empty")?;
        let title = head.lines.first().and_then(|line| line.strip_prefix("# "));
        let title = title
            .context("line 1 must be `# ` and a sentence")?
            .to_owned();
        ensure!(
            head.lines
                .iter()
                .all(|line| line.is_empty() || line.starts_with('#')),
            "the lines before the first section must begin with #"
        );
        let mut config = String::new();
        let mut steps = vec![Step::default()];
        for (number, section) in sections.iter().enumerate().skip(1) {
            if section.name == "config" {
                ensure!(
                    steps.len() == 1,
                    "line {}: an agent has one configuration",
                    section.first_line
                );
                config = section.text();
                continue;
            }
            if let Some(title) = section.name.strip_prefix("step ") {
                let objects = steps
                    .last()
                    .map(|step| step.objects.clone())
                    .unwrap_or_default();
                steps.push(Step {
                    title: title.to_owned(),
                    objects,
                    ..Step::default()
                });
                ensure!(
                    section.is_blank(),
                    "line {}: a step is a title only",
                    section.first_line
                );
                continue;
            }
            let step = steps.last_mut().context("there is a first step")?;
            step.add(number, section)?;
        }
        Ok(Self {
            title,
            config,
            steps,
            sections,
        })
    }

    /// The file's text with other expectations.
    pub fn with_expectations(&self, changes: &[(&Expectation, String)]) -> String {
        let mut sections = self.sections.clone();
        for (expectation, text) in changes {
            if let Some(section) = sections.get_mut(expectation.section) {
                section.set(text);
            }
        }
        let mut text = String::new();
        for section in sections {
            if !section.name.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "-- {} --", section.name);
            }
            for line in section.lines {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

// === impl Step ===

impl Step {
    fn add(&mut self, number: usize, section: &Section) -> Result<()> {
        let expectation = || {
            Some(Expectation {
                text: section.text(),
                section: number,
            })
        };
        match section.name.as_str() {
            "objects" => {
                for (line, text) in section.numbered() {
                    self.objects
                        .apply(text)
                        .with_context(|| format!("line {line}"))?;
                }
            }
            "restart" => self.restart = true,
            "maps" => self.maps = expectation(),
            "addresses" => self.addresses = expectation(),
            "diagnostics" => self.diagnostics = expectation(),
            "packets" => {
                for (line, text) in section.numbered() {
                    let packet =
                        PacketLine::parse(text, line).with_context(|| format!("line {line}"))?;
                    self.packets.push(packet);
                }
            }
            "lab" => {
                for (line, text) in section.numbered() {
                    let call = Call::parse(text, line).with_context(|| format!("line {line}"))?;
                    self.calls.push(call);
                }
            }
            file if file.ends_with(".yaml") => {
                self.objects.set_file(file, section.text());
            }
            other => anyhow::bail!("line {}: unknown section {other:?}", section.first_line - 1),
        }
        Ok(())
    }
}

// === impl Section ===

impl Section {
    /// The lines that say something, with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().enumerate();
        lines
            .map(|(index, line)| (self.first_line + index, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }

    fn is_blank(&self) -> bool {
        self.numbered().next().is_none()
    }

    /// The lines up to the last that is not empty.
    fn text(&self) -> String {
        let text = self.lines.join("\n");
        let trimmed = text.trim_end();
        if trimmed.is_empty() {
            String::new()
        } else {
            format!("{trimmed}\n")
        }
    }

    /// Replaces the lines and keeps the empty ones that separate this section from the next.
    fn set(&mut self, text: &str) {
        let empty = self
            .lines
            .iter()
            .rev()
            .take_while(|line| line.is_empty())
            .count();
        self.lines = text.lines().map(str::to_owned).collect();
        self.lines.extend(std::iter::repeat_n(String::new(), empty));
    }
}

fn split(text: &str) -> Vec<Section> {
    let mut sections = vec![Section {
        first_line: 1,
        ..Section::default()
    }];
    for (index, line) in text.lines().enumerate() {
        let name = line
            .strip_prefix("-- ")
            .and_then(|rest| rest.strip_suffix(" --"));
        if let Some(name) = name {
            let name = name.to_owned();
            sections.push(Section {
                name,
                lines: Vec::new(),
                first_line: index + 2,
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A pod reaches a ClusterIP.
# How: by words.

-- objects --
pod echo 10.1.1.9 app=echo
-- maps --
old

-- step the pod goes --
-- objects --
delete pod echo
-- maps --
";

    #[test]
    fn steps_amend_the_objects_before() {
        let scenario = Scenario::parse(TEXT).unwrap();
        assert_eq!(scenario.title, "A pod reaches a ClusterIP.");
        let pods: Vec<_> = scenario
            .steps
            .iter()
            .map(|step| step.objects.pods().count())
            .collect();
        assert_eq!(pods, [1, 0]);
    }

    #[test]
    fn new_expectations_leave_the_rest_of_the_file_alone() {
        let scenario = Scenario::parse(TEXT).unwrap();
        let maps = |step: usize| scenario.steps[step].maps.as_ref().unwrap();
        assert_eq!(maps(0).text, "old\n");
        assert_eq!(maps(1).text, "");
        let text = scenario.with_expectations(&[(maps(0), "new\n".to_owned())]);
        assert_eq!(text, TEXT.replace("old", "new"));
    }

    #[test]
    fn an_unknown_section_is_an_error_that_names_its_line() {
        let error = Scenario::parse("# Title.\n-- mapps --\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: unknown section \"mapps\"");
    }
}
