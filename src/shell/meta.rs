//! Commands that concern the session and the database as a whole: settings and help; figures are in [`figures`](super::figures).

use std::path::{Path, PathBuf};

use super::command::{self, Bail, Command, OutputMode};
use super::connection::Connection;
use super::failure::Failure;
use super::history::History;
use super::literal::is_hidden;
use super::session::{Session, Way};
use super::{completions, files, help, man};
use crate::config::{Name, Origin, Paging, template};
use crate::error::Error;

impl Session {
    /// Runs one of these commands.
    pub(crate) fn settings_and_figures(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Output { file, once } => self.send_output(file, once)?,
            Command::Mode { mode } => self.mode(mode),
            Command::Timer { on } => self.timer(on),
            Command::Echo { on } => self.set_echo(on),
            Command::Pager { when } => self.set_pager(when),
            Command::Bail { bail } => self.bail(bail),
            Command::History { history } => self.history(history),
            Command::Open { dir } => self.open(dir)?,
            Command::ConfigInit => self.config_init()?,
            Command::Completions { shell } => self.text(&completions::script(shell)),
            Command::Man => self.text(&man::page()),
            Command::Tutorial => self.tutorial()?,
            Command::Show => self.show(),
            Command::Stats => self.stats()?,
            Command::Levels => self.levels()?,
            Command::Prefixes { overview } => self.prefixes(&overview)?,
            Command::Compact => self.compact()?,
            Command::Backup { dir } => self.backup(&dir)?,
            Command::Check => self.check()?,
            Command::Repair { dir } => self.repair(dir)?,
            Command::Version => self.version(),
            Command::Help { topic } => self.help(topic.as_deref())?,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.renderer.text(&mut self.output.buffer, text);
    }

    /// Goes on with another database, if it can be opened.
    fn open(&mut self, dir: PathBuf) -> Result<(), Failure> {
        self.refuse_in_block(".open")?;
        if self.tutorial.is_some() {
            return Err(Failure::refused(".open waits for the end of the tutorial", ".tutorial leaves it"));
        }
        let mut settings = self.settings.clone();
        settings.db = dir;
        let connection = Connection::new(&settings, self.interrupt.flag(), self.way != Way::OneShot);
        let mut connection = connection.opened_as(&self.connection);
        let is_missing = match connection.reader() {
            Ok(_) => false,
            Err(Error::NoDatabase { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        self.connection.close();
        self.connection = connection;
        self.settings.db = settings.db;
        self.settings.changed_in_session(Name::Db);
        self.renderer.done(&mut self.output.buffer);
        if is_missing && self.way == Way::Prompt {
            self.note(&format!(
                "{} is not there yet: the first write creates it",
                self.settings.db.display()
            ));
        }
        Ok(())
    }

    fn config_init(&mut self) -> Result<(), Failure> {
        let Some(path) = files::user_config_file() else {
            return Err(Failure::refused(
                "there is no place for configuration files: HOME is not set",
                "set HOME",
            ));
        };
        files::create_private(&path, &template())?;
        self.text(&path.display().to_string());
        Ok(())
    }

    /// Opens the file before anything changes: while it can't be written, results go where they went.
    fn send_output(&mut self, path: Option<PathBuf>, once: bool) -> Result<(), Failure> {
        let path = path.filter(|path| path != Path::new("-"));
        let file = path.as_deref().map(files::overwrite).transpose()?;
        self.output.restore()?;
        self.renderer.done(&mut self.output.buffer);
        match path.zip(file) {
            Some((path, file)) => self.output.redirect(path, Box::new(file), once),
            None => Ok(()),
        }
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

    fn set_echo(&mut self, on: Option<bool>) {
        if let Some(on) = on {
            self.settings.echo = on;
            self.settings.changed_in_session(Name::Echo);
            self.renderer.done(&mut self.output.buffer);
        } else {
            self.show_one(Name::Echo);
        }
    }

    fn set_pager(&mut self, when: Option<Paging>) {
        if let Some(when) = when {
            self.settings.pager = when;
            self.settings.changed_in_session(Name::Pager);
            self.renderer.done(&mut self.output.buffer);
        } else {
            self.show_one(Name::Pager);
        }
    }

    /// Shows a line of a script before its results.
    pub(crate) fn echo(&mut self, line: &[u8]) {
        if self.settings.echo {
            let line = line.trim_ascii_end();
            self.renderer.text(&mut self.output.buffer, &String::from_utf8_lossy(line));
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

    /// Shows or turns the history that the prompt lends, or that in the file.
    fn history(&mut self, what: command::History) {
        let settings = &self.settings;
        let history = self.history.get_or_insert_with(|| History::open(settings));
        match what {
            command::History::Show(count) => {
                let entries: Vec<String> = history.newest(count).map(harmless).collect();
                self.renderer.texts(&mut self.output.buffer, &entries);
            }
            command::History::Keep(on) => {
                history.turn(on);
                self.settings.history = on;
                self.settings.changed_in_session(Name::History);
                self.renderer.done(&mut self.output.buffer);
            }
        }
    }

    fn show_one(&mut self, name: Name) {
        let text = self.settings.text(name);
        self.renderer.text(&mut self.output.buffer, &text);
    }

    fn show(&mut self) {
        let mut rows = self.settings.rows();
        if let Some(file) = self.output.file() {
            rows.push(("output", file.display().to_string(), Origin::Session.to_string()));
        }
        self.renderer.settings(&mut self.output.buffer, &rows);
    }

    fn version(&mut self) {
        let text = concat!("kvdb ", env!("CARGO_PKG_VERSION"));
        self.renderer.text(&mut self.output.buffer, text);
    }

    fn help(&mut self, topic: Option<&str>) -> Result<(), Failure> {
        let text = help::help_within(topic, self.columns_for_people().unwrap_or(usize::MAX))?;
        self.renderer.text(&mut self.output.buffer, &text);
        Ok(())
    }
}

/// A line as it was typed, without what a terminal would obey.
fn harmless(line: &str) -> String {
    line.replace(|c| c != '\n' && is_hidden(c), "?")
}
