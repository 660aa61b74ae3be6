//! The terminal: a table that is drawn over itself, or plain lines where there is no terminal.

use std::{
    io::{self, IsTerminal},
    time::Instant,
};

use anyhow::Result;

use super::write_out;

#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    started: Instant,
    /// Lines of the table that the next one is drawn over.
    drawn: usize,
}

// === impl Screen ===

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            started: Instant::now(),
            drawn: 0,
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        // Without a reader the demo still has its exit status.
        let _ = write_out(&format!(
            "{:5.1} s  {text}\n",
            self.started.elapsed().as_secs_f64()
        ));
    }

    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        self.clear();
        write_out(text)
    }

    /// Draws the table over the last one.
    pub(super) fn draw(&mut self, headline: &str, table: &str) -> Result<()> {
        if !self.is_terminal {
            return Ok(());
        }
        self.clear();
        let text = format!(
            "{:5.1} s  {headline}\n{table}",
            self.started.elapsed().as_secs_f64()
        );
        self.drawn = text.lines().count();
        write_out(&text)
    }

    /// Draws the table for the last time.
    pub(super) fn settle(&mut self, headline: &str, table: &str) -> Result<()> {
        self.say(headline);
        write_out(table)
    }

    /// Removes the table that was drawn last.
    pub(super) fn clear(&mut self) {
        if self.drawn > 0 {
            // Up to its first line, and erase from there.
            let _ = write_out(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}
