//! Commands that concern the session and the database as a whole: settings, figures, help.

use super::command::{Bail, Command, OutputMode};
use super::failure::Failure;
use super::help;
use super::session::Session;
use crate::config::Name;

impl Session {
    /// Runs one of these commands.
    pub(crate) fn settings_and_figures(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Mode { mode } => self.mode(mode),
            Command::Timer { on } => self.timer(on),
            Command::Bail { bail } => self.bail(bail),
            Command::Show => self.show(),
            Command::Stats => self.stats()?,
            Command::Compact => self.compact()?,
            Command::Version => self.version(),
            Command::Help { topic } => self.help(topic.as_deref())?,
            _ => {}
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Failure> {
        self.refuse_in_block(".compact")?;
        self.connection.check_writable()?;
        let interrupt = &self.interrupt;
        let done = self.connection.reader()?.compact_with(&mut |_| !interrupt.is_raised())?;
        let rows =
            [("bytes_before", done.bytes_before.to_string()), ("bytes_after", done.bytes_after.to_string())];
        self.renderer.figures(&mut self.output.buffer, &rows);
        Ok(())
    }

    fn stats(&mut self) -> Result<(), Failure> {
        let stats = self.connection.reader()?.stats()?;
        let rows = [
            ("directory", self.settings.db.display().to_string()),
            ("engine", stats.engine.name().to_owned()),
            ("keys", stats.keys.to_string()),
            ("keys_counted", stats.is_exact.to_string()),
            ("live_bytes", stats.live_bytes.to_string()),
            ("lsn", stats.lsn.to_string()),
            ("log_files", stats.log_files.to_string()),
            ("log_bytes", stats.log_bytes.to_string()),
            ("runs", stats.runs.to_string()),
            ("tables", stats.tables.to_string()),
            ("disk_bytes", stats.disk_bytes.to_string()),
            ("commits", stats.commits.to_string()),
            ("syncs", stats.syncs.to_string()),
            ("sync_micros", stats.sync_micros.to_string()),
            ("lock_waits", stats.lock_waits.to_string()),
        ];
        self.renderer.figures(&mut self.output.buffer, &rows);
        Ok(())
    }

    fn mode(&mut self, mode: Option<OutputMode>) {
        if let Some(mode) = mode {
            self.settings.mode = mode;
            self.settings.changed_in_session(Name::Mode);
            self.renderer.mode = mode;
            self.renderer.done(&mut self.output.buffer);
        } else {
            self.show_one(Name::Mode);
        }
    }

    fn timer(&mut self, on: Option<bool>) {
        if let Some(on) = on {
            self.settings.timer = on;
            self.settings.changed_in_session(Name::Timer);
            self.renderer.done(&mut self.output.buffer);
        } else {
            self.show_one(Name::Timer);
        }
    }

    fn bail(&mut self, bail: Option<Bail>) {
        if let Some(bail) = bail {
            self.settings.bail = bail;
            self.settings.changed_in_session(Name::Bail);
            self.renderer.done(&mut self.output.buffer);
        } else {
            self.show_one(Name::Bail);
        }
    }

    fn show_one(&mut self, name: Name) {
        let text = self.settings.text(name);
        self.renderer.text(&mut self.output.buffer, &text);
    }

    fn show(&mut self) {
        let rows = self.settings.rows();
        let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
        let is_json = matches!(self.settings.mode, OutputMode::Json | OutputMode::Jsonl);
        let row = |(name, value, origin): &(&'static str, String, String)| {
            (*name, if is_json { value.clone() } else { format!("{value:width$}  ({origin})") })
        };
        self.renderer.figures(&mut self.output.buffer, &rows.iter().map(row).collect::<Vec<_>>());
    }

    fn version(&mut self) {
        let text = concat!("kvdb ", env!("CARGO_PKG_VERSION"));
        self.renderer.text(&mut self.output.buffer, text);
    }

    fn help(&mut self, topic: Option<&str>) -> Result<(), Failure> {
        let text = help::help(topic)?;
        self.renderer.text(&mut self.output.buffer, &text);
        Ok(())
    }
}
