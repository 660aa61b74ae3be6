//! How answers are written: columns for people as kubectl has them, JSON and YAML for programs.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns
    #[default]
    Table,
    /// Columns, and more of them
    Wide,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Output {
    /// How to write the answer
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) format: Format,
}

// === impl Output ===

impl Output {
    pub(super) fn is_wide(self) -> bool {
        self.format == Format::Wide
    }

    /// Writes the value for a program, or calls `text` for people.
    pub(super) fn write<T: Serialize>(
        self,
        out: &mut dyn Write,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table | Format::Wide => text(out),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, value).context("write JSON")?;
                Ok(writeln!(out)?)
            }
            Format::Yaml => {
                let yaml = serde_saphyr::to_string(value).context("write YAML")?;
                Ok(out.write_all(yaml.as_bytes())?)
            }
        }
    }
}

/// Writes columns without borders, three spaces apart, the header in capitals.
pub(super) fn write_columns<const N: usize>(
    out: &mut dyn Write,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What stands in a column for something that is not there.
pub(super) fn or_none(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("<none>")
        .to_owned()
}
