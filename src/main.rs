//! The binary: what was typed → settings → run → exit code. All behaviour is in the library.

mod cli;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use kvdb::config::{Color, SettingError, Settings, Sources, resolve};
use kvdb::shell::exit::Exit;
use kvdb::shell::files::{read_text_if_any, user_config_file};
use kvdb::shell::literal::harmless;
use kvdb::shell::run::{Stream, Streams, run};

use cli::Invocation;

fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os(), || io::stdin().is_terminal()) {
        Ok(invocation) => start(invocation),
        Err(answer) => answered_by_clap(&answer),
    };
    exit.into()
}

/// Whether errors are JSON, as far as that is known before what was typed is understood.
fn speaks_json() -> bool {
    cli::asks_for_json(std::env::args_os().skip(1), std::env::var_os("KVDB_MODE"))
}

fn start(invocation: Invocation) -> Exit {
    let Invocation { flags, files, run: what } = invocation;
    let variable = |name: &str| std::env::var_os(name);
    let sources =
        Sources { flags, variable: &variable, read: &read_text_if_any, user_file: user_config_file(), files };
    let settings = match resolve(&sources) {
        Err(_) if !what.needs_settings() => resolve(&Sources { files: false, ..sources }),
        resolved => resolved,
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return refused(&error),
    };
    let streams = streams(&settings);
    run(what, settings, streams).unwrap_or_else(|error| {
        say(&format!("error: cannot start: {error}\n"));
        Exit::IO
    })
}

/// Asks a terminal how wide or how high it is.
type Size = fn() -> usize;

fn streams(settings: &Settings) -> Streams {
    let size: [Size; 4] = [
        || columns(&io::stdout()),
        || rows(&io::stdout()),
        || columns(&io::stderr()),
        || rows(&io::stderr()),
    ];
    Streams {
        output: stream(Box::new(io::stdout()), &io::stdout(), (size[0], size[1]), settings.color),
        errors: stream(Box::new(io::stderr()), &io::stderr(), (size[2], size[3]), settings.color),
    }
}

fn stream(
    sink: Box<dyn Write>,
    descriptor: &impl IsTerminal,
    (width, height): (Size, Size),
    setting: Color,
) -> Stream {
    let is_terminal = descriptor.is_terminal();
    let [width, height] = [width, height].map(|size| is_terminal.then_some(size));
    let (colour, unicode) = (is_coloured(setting, is_terminal), is_terminal && speaks_utf8());
    Stream { sink, width, height, colour, unicode }
}

/// Whether the locale says that the terminal shows UTF-8, and the terminal is one that can draw.
fn speaks_utf8() -> bool {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    (locale.contains("utf-8") || locale.contains("utf8")) && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM") == Some("dumb".into())
}

/// Columns of a terminal; 80 where it does not say.
fn columns(terminal: &impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// Rows of a terminal; 24 where it does not say.
fn rows(terminal: &impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 0 => usize::from(size.ws_row),
        _ => 24,
    }
}

/// Whether a stream is coloured. The environment speaks only where the setting leaves it open: `NO_COLOR` (not empty), then
/// `CLICOLOR_FORCE` (not empty, not 0), then `CLICOLOR` (0) and the terminal.
fn is_coloured(setting: Color, is_terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    match setting {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR").is_some() => false,
        Color::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        Color::Auto => is_terminal && !is_dumb() && set("CLICOLOR").is_none_or(|value| value != "0"),
    }
}

fn refused(error: &SettingError) -> Exit {
    if speaks_json() {
        return usage_as_json(&error.to_string(), error.help.as_deref());
    }
    let help = error.help.as_ref().map(|help| format!("  = help: {}\n", harmless(help)));
    say(&format!("error: {}\n{}", harmless(&error.to_string()), help.unwrap_or_default()));
    Exit::USAGE
}

fn usage_as_json(error: &str, help: Option<&str>) -> Exit {
    let mut object = serde_json::json!({ "error": error, "kind": "invalid", "exit": Exit::USAGE.0 });
    if let Some(help) = help {
        object["help"] = help.into();
    }
    say(&format!("{object}\n"));
    Exit::USAGE
}

/// Help and version on standard output, errors on standard error.
fn answered_by_clap(answer: &clap::Error) -> Exit {
    let text = answer.render().to_string();
    if answer.use_stderr() && speaks_json() {
        let mut lines = text.lines().map(str::trim);
        let error = lines.next().unwrap_or_default().trim_start_matches("error: ");
        return usage_as_json(error, lines.find_map(|line| line.strip_prefix("tip: ")));
    }
    if answer.use_stderr() {
        say(&text);
        return Exit::USAGE;
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::DONE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::CLOSED_PIPE,
        Err(error) => {
            say(&format!("error: cannot write to standard output: {error}\n"));
            Exit::IO
        }
    }
}

/// Writes to standard error; where that fails nobody can be told.
fn say(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
