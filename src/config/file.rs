//! A `config.toml`: settings by name, each remembered with its line.

use std::ffi::OsStr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::NO_CONFIG;
use super::{Name, Origin, Paging, SPECS, SettingError, Settings, paging, switch, switch_name};
use crate::shell::suggest::nearest;

/// Whose settings a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    User,
    /// It lies in a database, which may have come from somebody else.
    Database,
}

/// Applies the settings in the text of a file.
pub(super) fn apply_toml(
    settings: &mut Settings,
    text: &str,
    path: &Path,
    owner: Owner,
) -> Result<(), SettingError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_at(text, error.span().map_or(0, |span| span.start));
        let reason = error.message().replace('\n', ", ");
        SettingError { message: format!("{}:{line}: {reason}", path.display()), help: Some(NO_CONFIG.into()) }
    })?;
    for (key, value) in table.get_ref() {
        let origin = Origin::File { path: path.to_owned(), line: line_at(text, key.span().start) };
        match SPECS.iter().find(|spec| spec.key == key.get_ref()) {
            Some(spec) => {
                let text = toml_text(value.get_ref());
                if owner == Owner::Database {
                    check_of_database(spec.name, &text, &origin)?;
                }
                settings.set(spec.name, OsStr::new(&text), origin)?;
            }
            None => return Err(unknown(key.get_ref(), &origin)),
        }
    }
    Ok(())
}

/// The value as it would be typed elsewhere; what can't be typed elsewhere is not empty and not allowed.
fn toml_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().replace('_', ""),
        DeValue::Float(number) => number.as_str().replace('_', ""),
        DeValue::Boolean(on) => switch_name(*on).into(),
        other => format!("({})", other.type_str()),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].split(|&byte| byte == b'\n').count()
}

/// An error where whoever made the database would decide what is the user's: which database is opened, what is run, and what
/// becomes of the history.
fn check_of_database(name: Name, text: &str, origin: &Origin) -> Result<(), SettingError> {
    let (what, help) = match name {
        Name::Db => {
            ("can't name a database", "use --db DIR, KVDB_DIR, or db = … in your own configuration file")
        }
        Name::Pager if matches!(paging(text), Paging::Command(_)) => (
            "can't name a command to run",
            "use KVDB_PAGER, or pager = … in your own configuration file; here it is auto, on or off",
        ),
        Name::History if switch(text) == Some(true) => {
            ("can't turn the history on", "use KVDB_HISTORY, or history = … in your own configuration file")
        }
        Name::HistorySize | Name::HistoryIgnore => (
            "can't say what is kept of the history",
            "say it in your own configuration file; here only history = \"off\" counts",
        ),
        _ => return Ok(()),
    };
    Err(SettingError { message: format!("{origin}: a database's own file {what}"), help: Some(help.into()) })
}

fn unknown(key: &str, origin: &Origin) -> SettingError {
    let names = SPECS.iter().map(|spec| spec.key);
    let help = match nearest(key, names.clone()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("allowed: {}", names.collect::<Vec<_>>().join(", ")),
    };
    SettingError { message: format!("{origin}: unknown setting \"{key}\""), help: Some(help) }
}
