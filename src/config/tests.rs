//! Which source wins, and what is said about one that can't be followed.

use super::*;

/// Resolves from a user's file, a database's file, variables and flags.
fn resolved(
    user: &str,
    database: &str,
    variables: &[(&str, &str)],
    flags: &[(Name, &str, &'static str)],
) -> Result<Settings, SettingError> {
    let variable =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
    let read =
        |path: &Path| Ok(Some(if path == Path::new("/u/config.toml") { user } else { database }.to_owned()));
    resolve(&Sources {
        flags: flags.iter().map(|(name, value, flag)| (*name, (*value).into(), *flag)).collect(),
        variable: &variable,
        read: &read,
        user_file: Some("/u/config.toml".into()),
        files: true,
    })
}

#[test]
fn each_source_beats_the_one_before() {
    let flag = [(Name::Sync, "none", "--sync")];
    let variable = [("KVDB_SYNC", "each")];
    let user = "sync = \"none\"\nmode = \"json\"\n";
    let database = "\nsync = \"group\"\n";

    let settings = resolved(user, "", &[], &[]).unwrap();
    assert_eq!((settings.sync, settings.mode), (SyncMode::None, OutputMode::Json));
    let line = |path: &str, line| Origin::File { path: path.into(), line };
    assert_eq!(*settings.origin(Name::Mode), line("/u/config.toml", 2));

    let settings = resolved(user, database, &[], &[]).unwrap();
    assert_eq!(settings.sync, SyncMode::Group);
    assert_eq!(*settings.origin(Name::Sync), line(".kvdb/config.toml", 2));

    let settings = resolved(user, database, &variable, &[]).unwrap();
    assert_eq!((settings.sync, settings.mode), (SyncMode::Each, OutputMode::Json));
    assert_eq!(*settings.origin(Name::Sync), Origin::Variable("KVDB_SYNC"));

    let settings = resolved(user, database, &variable, &flag).unwrap();
    assert_eq!(settings.sync, SyncMode::None);
    assert_eq!(*settings.origin(Name::Sync), Origin::Flag("--sync"));
    assert_eq!(*settings.origin(Name::Timer), Origin::Default);
}

#[test]
fn the_database_is_found_before_its_file_is_read() {
    let asked = std::cell::RefCell::new(Vec::new());
    let settings = resolve(&Sources {
        flags: vec![(Name::Db, "flag".into(), "--db")],
        variable: &|name| (name == "KVDB_DIR").then(|| "variable".into()),
        read: &|path| {
            asked.borrow_mut().push(path.to_owned());
            Ok(None)
        },
        user_file: None,
        files: true,
    });
    assert_eq!(settings.unwrap().db, Path::new("flag"));
    assert_eq!(*asked.borrow(), [Path::new("flag/config.toml")]);
}

#[test]
fn a_typo_in_a_file_is_an_error_with_its_line() {
    let error = resolved("# mine\nsnyc = \"each\"\n", "", &[], &[]).unwrap_err();
    assert_eq!(error.message, "/u/config.toml:2: unknown setting \"snyc\"");
    assert_eq!(error.help.as_deref(), Some("did you mean \"sync\"?"));
    let error = resolved("zzzzzzz = 1", "", &[], &[]).unwrap_err();
    assert!(error.help.unwrap().starts_with("allowed: db, engine, sync"));
}

#[test]
fn a_bad_value_says_what_is_allowed() {
    let error = resolved("timer = true\nsync = \"weekly\"", "", &[], &[]).unwrap_err();
    assert_eq!(error.message, "/u/config.toml:2: invalid value \"weekly\" for \"sync\"");
    assert_eq!(error.help.as_deref(), Some("allowed: each, group, none"));
    let error = resolved("", "", &[("KVDB_LOCK_TIMEOUT", "-1")], &[]).unwrap_err();
    assert_eq!(error.message, "invalid value \"-1\" for KVDB_LOCK_TIMEOUT");
    let error = resolved("", "", &[], &[(Name::Mode, "xml", "--mode")]).unwrap_err();
    assert_eq!(error.message, "invalid value \"xml\" for --mode");
    assert!(resolved("history_size = [1]", "", &[], &[]).is_err());
    assert!(resolved("lock_timeout = nan", "", &[], &[]).is_err());
}

#[test]
fn broken_toml_and_a_database_in_its_own_file_are_errors() {
    let error = resolved("timer = \n", "", &[], &[]).unwrap_err();
    assert!(error.message.starts_with("/u/config.toml:1: "), "{error}");
    let error = resolved("", "db = \"elsewhere\"", &[], &[]).unwrap_err();
    assert_eq!(error.message, ".kvdb/config.toml:1: a database's own file can't name a database");
    assert_eq!(resolved("db = \"mine\"", "", &[], &[]).unwrap().db, Path::new("mine"));
}

#[test]
fn specs_stand_in_the_order_of_their_names() {
    for (index, spec) in SPECS.iter().enumerate() {
        assert_eq!(spec.name as usize, index, "{}", spec.key);
    }
}

#[test]
fn the_template_names_every_setting_and_its_defaults_are_allowed() {
    let template = template();
    assert_eq!(resolved(&template, "", &[], &[]).unwrap(), Settings::default());
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let uncommented: Vec<_> = template.lines().filter(is_setting).map(|line| &line[1..]).collect();
    assert_eq!(uncommented.len(), SPECS.len());
    let settings = resolved(&uncommented.join("\n"), "", &[], &[]).unwrap();
    let values =
        |settings: &Settings| settings.rows().into_iter().map(|(_, value, _)| value).collect::<Vec<_>>();
    assert_eq!(values(&settings), values(&Settings::default()));
    assert!(template.lines().all(|line| line.len() <= 110), "{template}");
}

#[test]
fn words_are_told_where_there_are_no_other_values() {
    assert_eq!(words(Name::Color), ["auto", "always", "never"]);
    assert!(words(Name::Db).is_empty() && words(Name::LockTimeout).is_empty());
}
