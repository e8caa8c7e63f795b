//! A `config.toml`: settings by name, each remembered with its line.

use std::ffi::OsStr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Name, Origin, SPECS, SettingError, Settings, switch_name};
use crate::shell::suggest::nearest;

/// Applies the settings in the text of a file; `may_name_db` unless it lies in a database.
pub(super) fn apply_toml(
    settings: &mut Settings,
    text: &str,
    path: &Path,
    may_name_db: bool,
) -> Result<(), SettingError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_at(text, error.span().map_or(0, |span| span.start));
        let reason = error.message().replace('\n', ", ");
        SettingError { message: format!("{}:{line}: {reason}", path.display()), help: None }
    })?;
    for (key, value) in table.get_ref() {
        let origin = Origin::File { path: path.to_owned(), line: line_at(text, key.span().start) };
        match SPECS.iter().find(|spec| spec.key == key.get_ref()) {
            Some(spec) if may_name_db || spec.name != Name::Db => {
                settings.set(spec.name, OsStr::new(&toml_text(value.get_ref())), origin)?;
            }
            Some(_) => return Err(misplaced_db(&origin)),
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

fn misplaced_db(origin: &Origin) -> SettingError {
    SettingError {
        message: format!("{origin}: a database's own file can't name a database"),
        help: Some("use --db DIR, KVDB_DIR, or db = … in your own configuration file".into()),
    }
}

fn unknown(key: &str, origin: &Origin) -> SettingError {
    let names = SPECS.iter().map(|spec| spec.key);
    let help = match nearest(key, names.clone()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("allowed: {}", names.collect::<Vec<_>>().join(", ")),
    };
    SettingError { message: format!("{origin}: unknown setting \"{key}\""), help: Some(help) }
}
