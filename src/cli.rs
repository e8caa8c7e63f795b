//! What can be typed before the verb, and which of the three ways in it asks for.
//!
//! Options of kvdb stand before the verb; everything from the verb on belongs to the language and is handed over as the
//! bytes that the system passed, never looked at here: `kvdb get --mode` asks `get` about `--mode`. So the verb is what
//! clap calls an external subcommand.
//!
//! * a verb → one command ([`Run::Command`]); `-c LINE`, any number of times → these lines ([`Run::Lines`]);
//! * `-`, or no verb with a standard input that is no terminal → a script ([`Run::Script`]);
//! * no verb on a terminal → a session ([`Run::Session`]).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kvdb::config::{FLAGS, Flag, FlagValue, Flags, MODES, Name};
use kvdb::shell::run::Run;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) flags: Flags,
    /// Whether configuration files count.
    pub(crate) files: bool,
    pub(crate) run: Run,
}

const EXAMPLES: &str = "\
Examples:
  kvdb set name \"Jaya Krishna\"     store a value (the first write creates the database)
  kvdb get name                    print it; exit code 1 when it is not there
  kvdb < commands.kv               run a script, durably; plain `kvdb` opens a prompt";

const AFTER: &str = "\
`kvdb help` lists the commands, `kvdb help VERB` explains one. `kvdb set KEY -` reads the value from standard input;
after `--` every argument is a plain value.
Exit codes: 0 done, 1 negative answer, 2 usage or syntax, 3 cannot open, 4 corruption, 5 input or output failed,
130 Ctrl-C, 141 closed pipe, 143 termination request.";

/// Reads the command line. What clap has to say instead (help, version, an error) is its error.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: impl FnOnce() -> bool,
) -> Result<Invocation, clap::Error> {
    let mut matches = command().try_get_matches_from(args)?;
    let flags = flags(&mut matches);
    let files = !matches.get_flag("no-config");
    let lines = matches.remove_many("line").map(|lines| lines.map(OsString::into_vec).collect());
    let run = run(verb(&mut matches), lines, stdin_is_terminal)?;
    Ok(Invocation { flags, files, run })
}

/// Whether the command line, as far as it can be read, or else the value of `KVDB_MODE`, asks for JSON.
pub(crate) fn asks_for_json(args: impl IntoIterator<Item = OsString>, variable: Option<OsString>) -> bool {
    let mut mode = variable;
    let mut args = args.into_iter();
    while let Some(arg) = args.next().filter(|arg| arg.as_bytes().starts_with(b"-")) {
        let (name, attached) = match arg.as_bytes().iter().position(|&byte| byte == b'=') {
            Some(at) => (&arg.as_bytes()[..at], Some(OsString::from_vec(arg.as_bytes()[at + 1..].to_vec()))),
            None => (arg.as_bytes(), None),
        };
        let flag = FLAGS.iter().find(|flag| flag.name.as_bytes() == name);
        let value = match flag.map(|flag| flag.value) {
            Some(FlagValue::Fixed(value)) => Some(value.into()),
            Some(FlagValue::Typed(_)) => attached.or_else(|| args.next()),
            None if name == b"-c" => args.next(),
            None => None,
        };
        let is_mode = |value: &OsString| MODES.iter().any(|(name, _)| value == name);
        if flag.is_some_and(|flag| flag.setting == Name::Mode) {
            mode = value.filter(is_mode).or(mode);
        }
    }
    mode.is_some_and(|mode| mode == "json" || mode == "jsonl")
}

fn command() -> Command {
    Command::new("kvdb")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A key-value database: one-shot commands, scripts on standard input, and a prompt")
        .override_usage("kvdb [OPTIONS] [VERB [ARGS]…]\n       kvdb [OPTIONS] [-c LINE]… | [-] < SCRIPT")
        .help_template("{before-help}{about}\n\n{usage-heading} {usage}\n\nOptions:\n{options}{after-help}\n")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .external_subcommand_value_parser(value_parser!(OsString))
        .args(FLAGS.iter().map(option))
        .arg(switch("--no-config", "Leave configuration files out").overrides_with("no-config"))
        .arg(line())
}

fn option(flag: &Flag) -> Arg {
    match flag.value {
        FlagValue::Fixed(_) => match flag.short {
            Some(short) => switch(flag.name, flag.summary).short(short),
            None => switch(flag.name, flag.summary),
        },
        FlagValue::Typed(placeholder) => Arg::new(&flag.name[2..])
            .long(&flag.name[2..])
            .value_name(placeholder)
            .value_parser(value_parser!(OsString))
            .allow_negative_numbers(true)
            .help(flag.summary),
    }
    .overrides_with_all(
        FLAGS.iter().filter(|other| other.setting == flag.setting).map(|other| &other.name[2..]),
    )
}

fn switch(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(&flag[2..]).long(&flag[2..]).action(ArgAction::SetTrue).help(help)
}

fn line() -> Arg {
    Arg::new("line")
        .short('c')
        .value_name("LINE")
        .value_parser(value_parser!(OsString))
        .allow_hyphen_values(true)
        .action(ArgAction::Append)
        .help("Run a line of the command language; may be repeated")
}

fn flags(matches: &mut ArgMatches) -> Flags {
    let value = |flag: &Flag| match flag.value {
        FlagValue::Typed(_) => matches.remove_one(&flag.name[2..]),
        FlagValue::Fixed(value) => matches.get_flag(&flag.name[2..]).then(|| value.into()),
    };
    let given = FLAGS.iter().map(value);
    FLAGS.iter().zip(given).filter_map(|(flag, value)| Some((flag.setting, value?, flag.name))).collect()
}

/// The verb and its arguments, as bytes.
fn verb(matches: &mut ArgMatches) -> Option<Vec<Vec<u8>>> {
    let (verb, mut rest) = matches.remove_subcommand()?;
    let rest = rest.remove_many::<OsString>("").into_iter().flatten();
    Some(std::iter::once(verb.into_bytes()).chain(rest.map(OsString::into_vec)).collect())
}

fn run(
    verb: Option<Vec<Vec<u8>>>,
    lines: Option<Vec<Vec<u8>>>,
    stdin_is_terminal: impl FnOnce() -> bool,
) -> Result<Run, clap::Error> {
    match (verb, lines) {
        (Some(_), Some(_)) => {
            let text = "-c and a verb can't stand together: put the verb into the line, or leave -c out\n";
            Err(command().error(clap::error::ErrorKind::ArgumentConflict, text))
        }
        (None, Some(lines)) => Ok(Run::Lines(lines)),
        (Some(verb), None) if verb == [b"-"] => Ok(Run::Script),
        (Some(verb), None) => Ok(Run::Command(verb)),
        (None, None) if stdin_is_terminal() => Ok(Run::Session),
        (None, None) => Ok(Run::Script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Invocation {
        parse(std::iter::once("kvdb").chain(args.iter().copied()).map(OsString::from), || true).unwrap()
    }

    fn words(args: &[&str]) -> Run {
        Run::Command(args.iter().map(|arg| arg.as_bytes().to_vec()).collect())
    }

    #[test]
    fn everything_from_the_verb_on_belongs_to_the_verb() {
        let invocation = parsed(&["--db", "d", "set", "--mode", "-5", "--", "--x"]);
        assert_eq!(invocation.run, words(&["set", "--mode", "-5", "--", "--x"]));
        assert_eq!(invocation.flags, [(Name::Db, OsString::from("d"), "--db")]);
        assert_eq!(parsed(&["get", "--help"]).run, words(&["get", "--help"]));
        assert_eq!(parsed(&[".stats"]).run, words(&[".stats"]));
        assert_eq!(parsed(&["help"]).run, words(&["help"]));
    }

    #[test]
    fn arguments_keep_bytes_that_are_not_text() {
        let args = [b"kvdb".to_vec(), b"get".to_vec(), b"\xff\0".to_vec()].map(OsString::from_vec);
        let run = parse(args, || true).unwrap().run;
        assert_eq!(run, Run::Command(vec![b"get".to_vec(), b"\xff\0".to_vec()]));
    }

    #[test]
    fn without_a_verb_standard_input_decides() {
        assert_eq!(parsed(&[]).run, Run::Session);
        assert_eq!(parsed(&["-"]).run, Run::Script);
        assert_eq!(parse(["kvdb".into()], || false).unwrap().run, Run::Script);
        assert_eq!(
            parsed(&["-c", "get a", "-c", "-x"]).run,
            Run::Lines(vec![b"get a".to_vec(), b"-x".to_vec()])
        );
    }

    #[test]
    fn json_is_heard_in_a_command_line_that_is_not_understood() {
        let asks = |line: &str, variable: Option<&str>| {
            asks_for_json(line.split(' ').map(OsString::from), variable.map(OsString::from))
        };
        for line in
            ["--json --nosuch", "--db d --json", "--mode jsonl get", "--db=d --mode=json", "-c x --json"]
        {
            assert!(asks(line, None), "{line}");
        }
        for line in ["get --json", "--mode csv", "--db --json", "--nosuch"] {
            assert!(!asks(line, None), "{line}");
        }
        assert!(asks("--nosuch", Some("json")) && !asks("--raw", Some("json")));
        assert!(asks("--json --mode xx get a", None) && !asks("--json --mode csv", None));
    }

    #[test]
    fn of_two_options_for_one_setting_the_last_counts() {
        let mode =
            |args: &[&str]| parsed(args).flags.into_iter().map(|(_, value, _)| value).collect::<Vec<_>>();
        assert_eq!(mode(&["--raw", "--json", "get"]), ["json"]);
        assert_eq!(mode(&["--json", "--raw", "get"]), ["raw"]);
        assert_eq!(mode(&["--json", "--mode", "csv", "get"]), ["csv"]);
        assert_eq!(mode(&["--mode", "csv", "--null", "-0", "get"]), ["null"]);
    }

    #[test]
    fn a_mistyped_option_is_not_taken_for_a_verb() {
        let error = parse(["kvdb", "--jsn", "get", "a"].map(OsString::from), || true).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
        assert!(parse(["kvdb", "-c", "get a", "get", "a"].map(OsString::from), || true).is_err());
    }
}
