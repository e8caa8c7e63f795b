//! `.repair`: a new database of what can be read, and the list of what can't, in the forms of [`check`](super::check).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::{line, object, paragraph};
use super::exit::Exit;
use super::failure::Failure;
use super::session::Session;
use super::units;
use crate::engine::{Lost, Repair};

/// What is said where a lost record may have hidden something older.
const OLDER: &str = "older values, or deleted keys, may have come back";

impl Session {
    pub(super) fn repair(&mut self, dir: Option<PathBuf>) -> Result<(), Failure> {
        self.refuse_in_block(".repair")?;
        let new = dir.unwrap_or_else(|| beside(&self.settings.db));
        let repair = self.metered("repairing", |connection, progress| connection.repair(&new, progress))?;
        for notice in &repair.notices {
            self.note(&notice.to_string());
        }
        if self.columns_for_people().is_some() {
            let text = page(&repair);
            self.renderer.text(&mut self.output.buffer, &text);
        } else {
            let rows = rows(&repair, self.speaks_json());
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
        if repair.is_complete() { Ok(()) } else { Err(lost(&repair, &self.settings.db)) }
    }
}

/// Where the new database goes if nobody says.
fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.components().as_path().as_os_str().to_owned();
    name.push(".repaired");
    name.into()
}

fn lost(repair: &Repair, dir: &Path) -> Failure {
    let count = repair.lost.len();
    let are = if count == 1 { "1 part" } else { &format!("{count} parts") };
    Failure::Refused {
        message: format!(
            "{are} of {} could not be read; what could be read is in {}",
            dir.display(),
            repair.dir.display()
        ),
        help: Some("the damaged database is unchanged; keep it until you know what is missing".into()),
        exit: Exit::CORRUPTION,
    }
}

fn page(repair: &Repair) -> String {
    let mut text = String::new();
    for fault in &repair.harmless {
        text += &paragraph(fault, "    nothing is lost\n");
    }
    for Lost { fault, older_may_be_back, .. } in &repair.lost {
        let more = if *older_may_be_back { format!("    {OLDER}\n") } else { String::new() };
        text += &paragraph(fault, &more);
    }
    let (keys, bytes) = (units::counted(repair.keys, "key"), units::bytes(repair.bytes));
    let verdict = if repair.is_complete() { "nothing was lost" } else { "not all could be read" };
    text + &format!("{}: {keys}, {bytes}; {verdict}\n", repair.dir.display())
}

fn rows(repair: &Repair, nested: bool) -> Vec<(&'static str, Value)> {
    let mut rows = vec![("directory", repair.dir.display().to_string().into())];
    rows.extend([("keys", repair.keys.into()), ("bytes", repair.bytes.into())]);
    if nested {
        let lost_object = |lost: &Lost| {
            let mut object = object(&lost.fault);
            object.insert("older_may_be_back".into(), lost.older_may_be_back.into());
            Value::Object(object)
        };
        rows.push(("lost", repair.lost.iter().map(lost_object).collect()));
        let harmless = repair.harmless.iter().map(|fault| Value::Object(object(fault)));
        rows.push(("harmless", harmless.collect()));
        return rows;
    }
    rows.push(("lost", repair.lost.len().into()));
    for Lost { fault, older_may_be_back, .. } in &repair.lost {
        let more = if *older_may_be_back { format!("; {OLDER}") } else { String::new() };
        rows.push(("loss", (line(fault) + &more).into()));
    }
    rows.extend(repair.harmless.iter().map(|fault| ("harmless", line(fault).into())));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_directory_has_the_name_of_the_old_one_with_a_word_behind() {
        assert_eq!(beside(Path::new("a/.kvdb/")), Path::new("a/.kvdb.repaired"));
        assert_eq!(beside(Path::new("/db")), Path::new("/db.repaired"));
    }
}
