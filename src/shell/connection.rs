//! The database of a session, opened when the first command needs it.
//!
//! 1. A command that reads never creates a database: it says where it looked ([`Error::NoDatabase`]).
//! 2. The first command that stores something creates it; what can only change what is there does not.
//! 3. With the setting `readonly` nothing is ever created or written; writes are refused before they begin. A database whose
//!    files this process may not write opens as well, and says so when something is to be written.
//! 4. What can be taken back belongs to the connection: never to another database.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::undo::Past;
use crate::config::Settings;
use crate::db::Db;
use crate::engine::{self, Check, Glance, Progress, Repair};
use crate::error::{Error, Fault, Notice, Result};
use crate::options::Options;
use crate::types::Key;

/// What is done with databases as a whole.
pub(crate) trait Databases {
    /// Opens the one in `dir`.
    fn open(&self, options: &Options, dir: &Path) -> Result<Db>;

    /// Opens the one in `dir` for a look at a few keys, where that is less work: see [`Glance`].
    fn glance(&self, options: &Options, dir: &Path, keys: &[Key]) -> Result<Option<Glance>>;

    /// Checks the one in `dir`: see [`Options::check`].
    fn check(
        &self,
        options: &Options,
        dir: &Path,
        progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
    ) -> Result<Check>;

    /// Repairs the one in the first directory and puts what it saves into the second: see [`Options::repair`].
    fn repair(
        &self,
        options: &Options,
        dirs: (&Path, &Path),
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Repair>;
}

/// Those of the system's files.
struct OnDisk;

impl Databases for OnDisk {
    fn open(&self, options: &Options, dir: &Path) -> Result<Db> {
        options.open(dir)
    }

    fn glance(&self, options: &Options, dir: &Path, keys: &[Key]) -> Result<Option<Glance>> {
        engine::glance(dir, options, keys)
    }

    fn check(
        &self,
        options: &Options,
        dir: &Path,
        progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
    ) -> Result<Check> {
        options.check(dir, progress)
    }

    fn repair(
        &self,
        options: &Options,
        (dir, new): (&Path, &Path),
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Repair> {
        options.repair(dir, new, progress)
    }
}

/// A database that may not be open yet.
pub(crate) struct Connection {
    dir: PathBuf,
    databases: Rc<dyn Databases>,
    /// The first command is the only one.
    expects_one_command: bool,
    glance: Option<Glance>,
    options: Options,
    /// Why nothing may be written, once that is known.
    read_only: Option<String>,
    db: Option<Db>,
    /// What can be taken back.
    pub(super) past: Past,
}

impl Connection {
    /// A connection that is not opened yet. `background`: it will be open for long enough to tidy up meanwhile.
    pub(crate) fn new(settings: &Settings, interrupt: Arc<AtomicBool>, background: bool) -> Self {
        let options = Options::new()
            .read_only(settings.readonly)
            .sync(settings.sync)
            .compression(settings.compression)
            .lock_timeout(settings.lock_timeout)
            .interrupt(interrupt)
            .engine(settings.engine)
            .background(background);
        let read_only = settings.readonly.then(|| "the setting readonly is on".to_owned());
        Self {
            dir: settings.db.clone(),
            databases: Rc::new(OnDisk),
            expects_one_command: false,
            glance: None,
            options,
            read_only,
            db: None,
            past: Past::default(),
        }
    }

    /// The first command will be the only one.
    pub(crate) fn expect_one_command(&mut self) {
        self.expects_one_command = true;
    }

    /// The same connection, to one of the databases that another one is to.
    pub(crate) fn opened_as(self, other: &Self) -> Self {
        Self { databases: Rc::clone(&other.databases), ..self }
    }

    /// The same connection, to one of other databases.
    #[cfg(test)]
    pub(crate) fn among(self, databases: Rc<dyn Databases>) -> Self {
        Self { databases, ..self }
    }

    /// A connection to a database that is open.
    #[cfg(test)]
    pub(crate) fn to(db: Db) -> Self {
        Self { db: Some(db), ..Self::new(&Settings::default(), Arc::default(), true) }
    }

    /// The database for reading; it is not created.
    pub(crate) fn reader(&mut self) -> Result<Db> {
        self.open(false)
    }

    /// A look at these keys, where that is enough: the command that wants it is the only one.
    pub(crate) fn glance(&mut self, keys: &[Key]) -> Result<Option<&Glance>> {
        if !std::mem::take(&mut self.expects_one_command) || self.db.is_some() {
            return Ok(None);
        }
        self.glance = self.databases.glance(&self.options, &self.dir, keys)?;
        Ok(self.glance.as_ref())
    }

    /// The database for writing; it is created when it is missing.
    pub(crate) fn writer(&mut self) -> Result<Db> {
        self.for_writing(true)
    }

    /// The database for changes to what is there; it is not created.
    pub(crate) fn changer(&mut self) -> Result<Db> {
        self.for_writing(false)
    }

    /// An error when it is known that nothing may be written.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(Error::ReadOnly { dir: self.dir.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// The database, if it is open already.
    pub(crate) fn opened(&self) -> Option<Db> {
        self.db.clone()
    }

    pub(crate) const fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Checks the database, which need not be open, and which it may be impossible to open.
    pub(crate) fn check(&self, progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        match &self.db {
            Some(db) => db.check_with(progress),
            None => self.databases.check(&self.options, &self.dir, progress),
        }
    }

    /// Writes what can be read of the database to a new one.
    pub(crate) fn repair(&self, new: &Path, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Repair> {
        self.databases.repair(&self.options, (&self.dir, new), progress)
    }

    /// What the library wants the user to be told.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        let of_glance = self.glance.iter().flat_map(Glance::take_notices);
        of_glance.chain(self.db.iter().flat_map(Db::take_notices)).collect()
    }

    /// Leaves the files so that the next process has little to read.
    pub(crate) fn close(&self) {
        if let Some(db) = &self.db {
            db.close();
        }
    }

    fn for_writing(&mut self, create: bool) -> Result<Db> {
        self.check_writable()?;
        let db = self.open(create)?;
        self.check_writable()?;
        Ok(db)
    }

    fn open(&mut self, create: bool) -> Result<Db> {
        if let Some(db) = &self.db {
            return Ok(db.clone());
        }
        let db = self.databases.open(&self.options.clone().create(create), &self.dir)?;
        if self.read_only.is_none() {
            self.read_only = db.read_only().map(str::to_owned);
        }
        self.db = Some(db.clone());
        Ok(db)
    }
}
