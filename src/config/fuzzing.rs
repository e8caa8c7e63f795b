//! Fuzzing the settings: the text of a `config.toml` is understood, or refused with its line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{SPECS, SettingError, Settings, Sources, resolve};
use crate::fuzzing::{Target, told};

/// The input is the text of the user's file.
pub(crate) const CONFIG: Target = Target { name: "config", run: config, seeds };

const FILE: &str = "/u/config.toml";

fn resolved(
    text: Option<&str>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Settings, SettingError> {
    resolve(&Sources {
        flags: Vec::new(),
        variable,
        read: &|path: &Path| Ok(text.filter(|_| path == Path::new(FILE)).map(str::to_owned)),
        user_file: Some(PathBuf::from(FILE)),
        files: true,
    })
}

fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match resolved(Some(&text), &|_| None) {
        Ok(settings) => means_the_same_when_shown(&settings),
        Err(error) => names_its_line(&error, &text),
    }
}

/// What `.show` says of a setting, said in the environment, is that setting.
fn means_the_same_when_shown(settings: &Settings) {
    let said = |variable: &str| {
        let spec = SPECS.iter().find(|spec| spec.variable == variable)?;
        Some(settings.text(spec.name).into())
    };
    let again = resolved(None, &said).unwrap_or_else(told);
    for spec in &SPECS {
        assert_eq!(settings.text(spec.name), again.text(spec.name), "{}", spec.key);
    }
}

fn names_its_line(error: &SettingError, text: &str) {
    let place = error.message.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
    let line = place.and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
    let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
    assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{lines} lines: {error}");
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "db = \"/data/kv\"\nengine = \"simple\" # a remark\nsync = \"each\"\nmode = \"json\"\ncolor = \"never\"\n",
        "bail = \"auto\"\ntimer = true\nlock_timeout = 0.5\nreadonly = false\nhistory = \"on\"\nhistory_size = 1_000\n",
        "[table]\nsync = 'none'\n",
        "snyc = \"each\"\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
